// Package election runs a function while this agent leads, waits for it, and
// keeps standing by cheap however many agents there are.
//
// Who leads is decided by client-go's elector and a Lease
// (k8s.io/client-go/tools/leaderelection). In front of it is a standby: an
// agent that does not lead reads the Lease about every N/5 seconds, N being
// the number of agents, so that all of them together read it five times a
// second. It joins the elector when the Lease looks free or forsaken, and
// leaves it when it has seen another leader in health. A standby holds no
// watch and no cache. It is the same at every size; of fewer than ten agents each
// reads every 1.7 s, give or take a quarter, and every 2 s where nobody can count
// them. With three agents the standbys notice a
// released Lease within 1.3 s then (p95), those of the elector alone within 2.5 s.
//
// Where all agents start at once on a forsaken Lease, a few of them join the elector
// at once and the others later and later, one after the other. A first look that is
// late is waited for and not made again. The connection for renewals is made by who
// is about to lead, so that a start costs each agent one.
//
// What a release costs is a fraction of a second, then. A crash costs about 20 s
// with the usual durations: 5 until a standby finds the Lease forsaken, and the
// LeaseDuration that the elector waits from its own first sight of it.
//
// # Promised
//
//   - The work has returned before the Lease is released. While work is still
//     ending after a shutdown, the Lease is renewed.
//   - Work's context ends RenewDeadline after the last renewal that succeeded,
//     at once when somebody else is seen to hold the Lease. If work has not
//     returned LeaseDuration − RenewDeadline later, [Elector.Run] returns
//     [ErrStuck] and the process must exit.
//   - What the leader publishes on the Lease ([Config.Annotations]) is carried by
//     the renewals, costs no request, and never stands beside another holder's
//     name, nor on a released Lease. Only a crash leaves it there, with the
//     name of the agent that crashed.
//   - Nothing here exits the process or starts a goroutine that outlives
//     [Elector.Run], but for work that does not return (ErrStuck).
//
// # Not promised
//
//   - The Lease is no fence. A process that was stopped for a while, a Lease
//     that somebody deleted or took by force, a clock that runs at another rate:
//     each lets two agents work at the same time, for seconds. Whatever work
//     writes must be guarded by what it writes to (a resourceVersion).
//   - N is what the Lease's annotation said at the last read, so a standby that
//     went to sleep when there were 5,000 agents sleeps for up to 2,000 s even
//     if there are 3 by then. Agents that start in between read at once.
package election
