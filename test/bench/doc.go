// Bench measures what rolecall costs and how fast it is, and what the usual ways
// cost in the same run: "make bench". It starts control planes, agents as
// processes and agents in this process, counts requests by the API server's own
// metrics, and writes what it found as a table, as JSON and as two plots.
//
// BENCH picks parts, such as BENCH=requests,takeover; a part that is left out
// keeps the figures that results.json has of it. With -small it takes about
// four minutes and fails where a ratio or a count has gone wrong by far; a time
// alone never makes it fail, since machines differ.
//
// Real agents run as far as memory allows. Beyond, many agents run in this
// process, made of the same packages as the program's and wired as internal/cli
// wires them: each with clients, connections and TLS sessions of its own, and
// nothing shared but the token.
//
// It needs the authenticator's packages for their own parser, so it is a module of
// its own.
package main
