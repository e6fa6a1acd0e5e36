package awsfake

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// PermissionSetPath is the path of the roles that IAM Identity Center makes.
const PermissionSetPath = "/aws-reserved/sso.amazonaws.com/"

const (
	defaultMaxItems = 100 // of IAM, where a request does not say
	maxItemsLimit   = 1000
)

// Role is an IAM role of the account.
type Role struct {
	Name    string
	Path    string    // with a slash at either end; empty means "/"
	Created time.Time // the zero value means 2024-01-01
}

// User is an IAM user of the account.
type User struct {
	Name string
	Path string // with a slash at either end; empty means "/"
}

type group struct {
	members []string // names of users, in the order of IAM's answer
}

// AddRole adds a role, or replaces the one of that name.
func (a *AWS) AddRole(r Role) {
	if r.Path == "" {
		r.Path = "/"
	}
	if r.Created.IsZero() {
		r.Created = epoch()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.roles[r.Name] = r
}

// AddPermissionSet adds the role that IAM Identity Center makes for a
// permission set, under PermissionSetPath and the region that follows there,
// if any. It returns the role's name, AWSReservedSSO_SET_SUFFIX; suffix is 16
// hex digits.
func (a *AWS) AddPermissionSet(set, suffix, region string, created time.Time) (name string) {
	r := Role{Name: "AWSReservedSSO_" + set + "_" + suffix, Path: PermissionSetPath, Created: created}
	if region != "" {
		r.Path += region + "/"
	}
	a.AddRole(r)
	return r.Name
}

// RemoveRole removes a role; sessions of it go on.
func (a *AWS) RemoveRole(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.roles, name)
}

// AddUser adds a user, or replaces the one of that name.
func (a *AWS) AddUser(u User) {
	if u.Path == "" {
		u.Path = "/"
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.users[u.Name] = u
}

// RemoveUser removes a user, from its groups too.
func (a *AWS) RemoveUser(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.users, name)
	for g, v := range a.groups {
		a.groups[g] = group{slices.DeleteFunc(slices.Clone(v.members), func(m string) bool { return m == name })}
	}
}

// AddGroup adds a group without members, or empties the one of that name.
func (a *AWS) AddGroup(name string) { a.SetMembers(name) }

// RemoveGroup removes a group; its users stay.
func (a *AWS) RemoveGroup(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.groups, name)
}

// SetMembers makes these users the members of a group. The group and any user
// that does not exist yet are added.
func (a *AWS) SetMembers(name string, users ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, u := range users {
		if _, ok := a.users[u]; !ok {
			a.users[u] = User{Name: u, Path: "/"}
		}
	}
	a.groups[name] = group{slices.Clone(users)}
}

func epoch() time.Time { return time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC) }

// Results of the query protocol. A list is there even when it is empty, as in
// IAM's own answers.
type (
	roleXML struct {
		Path                     string
		RoleName                 string
		RoleID                   string `xml:"RoleId"`
		ARN                      string `xml:"Arn"`
		CreateDate               string
		AssumeRolePolicyDocument string
		MaxSessionDuration       int
	}
	userXML struct {
		Path       string
		UserName   string
		UserID     string `xml:"UserId"`
		ARN        string `xml:"Arn"`
		CreateDate string
	}
	groupXML struct {
		Path       string
		GroupName  string
		GroupID    string `xml:"GroupId"`
		ARN        string `xml:"Arn"`
		CreateDate string
	}
	list[T any] struct {
		Member []T `xml:"member"`
	}
	next struct {
		IsTruncated bool
		Marker      string `xml:",omitempty"`
	}
	listRolesResult struct {
		Roles list[roleXML]
		next
	}
	listUsersResult struct {
		Users list[userXML]
		next
	}
	getGroupResult struct {
		Group groupXML
		Users list[userXML]
		next
	}
	getRoleResult struct{ Role roleXML }
	getUserResult struct{ User userXML }
)

func (a *AWS) arn(kind, path, name string) string {
	return "arn:" + a.options.Partition + ":iam::" + a.options.AccountID + ":" + kind + path + name
}

func (a *AWS) roleXML(r Role) roleXML {
	return roleXML{
		Path: r.Path, RoleName: r.Name, RoleID: "AROAIOSFODNN7EXAMPLE",
		ARN:                      a.arn("role", r.Path, r.Name),
		CreateDate:               r.Created.UTC().Format(time.RFC3339),
		AssumeRolePolicyDocument: url.QueryEscape(`{"Version":"2012-10-17","Statement":[]}`),
		MaxSessionDuration:       3600,
	}
}

func (a *AWS) userXML(u User) userXML {
	return userXML{
		Path: u.Path, UserName: u.Name, UserID: "AIDAIOSFODNN7EXAMPLE",
		ARN: a.arn("user", u.Path, u.Name), CreateDate: epoch().Format(time.RFC3339),
	}
}

// listRoles answers ListRoles. Called with mu held, as all below.
func (a *AWS) listRoles(form url.Values, fault *Fault) (any, *apiError) {
	prefix := form.Get("PathPrefix")
	if prefix != "" && !strings.HasPrefix(prefix, "/") {
		return nil, validation("The specified value for pathPrefix is invalid.")
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(a.roles)) {
		if strings.HasPrefix(a.roles[name].Path, prefix) {
			names = append(names, name)
		}
	}
	names, n, err := a.page(names, form, fault)
	if err != nil {
		return nil, err
	}
	res := listRolesResult{next: n}
	for _, name := range names {
		res.Roles.Member = append(res.Roles.Member, a.roleXML(a.roles[name]))
	}
	return res, nil
}

func (a *AWS) listUsers(form url.Values, fault *Fault) (any, *apiError) {
	names, n, err := a.page(slices.Sorted(maps.Keys(a.users)), form, fault)
	if err != nil {
		return nil, err
	}
	res := listUsersResult{next: n}
	for _, name := range names {
		res.Users.Member = append(res.Users.Member, a.userXML(a.users[name]))
	}
	return res, nil
}

func (a *AWS) getGroup(form url.Values, fault *Fault) (any, *apiError) {
	name := form.Get("GroupName")
	g, ok := a.groups[name]
	if !ok {
		return nil, noSuchEntity("group", name)
	}
	members, n, err := a.page(g.members, form, fault)
	if err != nil {
		return nil, err
	}
	res := getGroupResult{next: n, Group: groupXML{
		Path: "/", GroupName: name, GroupID: "AGPAIOSFODNN7EXAMPLE",
		ARN: a.arn("group", "/", name), CreateDate: epoch().Format(time.RFC3339),
	}}
	for _, m := range members {
		res.Users.Member = append(res.Users.Member, a.userXML(a.users[m]))
	}
	return res, nil
}

func (a *AWS) getRole(form url.Values) (any, *apiError) {
	name := form.Get("RoleName")
	r, ok := a.roles[name]
	if !ok {
		return nil, noSuchEntity("role", name)
	}
	return getRoleResult{a.roleXML(r)}, nil
}

func (a *AWS) getUser(form url.Values) (any, *apiError) {
	name := form.Get("UserName")
	u, ok := a.users[name]
	if !ok {
		return nil, noSuchEntity("user", name)
	}
	return getUserResult{a.userXML(u)}, nil
}

// page cuts the page out of items that a request asks for.
func (a *AWS) page(items []string, form url.Values, fault *Fault) ([]string, next, *apiError) {
	size := defaultMaxItems
	if s := form.Get("MaxItems"); s != "" {
		var err error
		if size, err = strconv.Atoi(s); err != nil || size < 1 || size > maxItemsLimit {
			return nil, next{}, validation("1 validation error detected: Value at 'maxItems' must be between 1 and 1000")
		}
	}
	size = min(size, a.options.PageSize)
	page, from, err := decodeMarker(form.Get("Marker"))
	if err != nil {
		return nil, next{}, err
	}
	from = min(from, len(items))
	to := min(from+size, len(items))
	n := next{IsTruncated: to < len(items)}
	if n.IsTruncated {
		n.Marker = encodeMarker(page+1, to)
	}
	if fault != nil {
		switch fault.Kind {
		case FaultNoMarker:
			n = next{IsTruncated: true}
		case FaultSameMarker:
			n = next{IsTruncated: true, Marker: form.Get("Marker")}
			if n.Marker == "" {
				n.Marker = encodeMarker(2, 0)
			}
		case FaultEndless:
			n = next{IsTruncated: true, Marker: encodeMarker(page+1, len(items))}
		case FaultBothWays:
			n = next{Marker: encodeMarker(page+1, to)}
		}
	}
	return items[from:to], n, nil
}

// A marker holds the number of the page, from 1, and where it begins. To a
// client it is opaque.
func encodeMarker(page, from int) string {
	return base64.URLEncoding.EncodeToString(fmt.Appendf(nil, "%d:%d", page, from))
}

func decodeMarker(s string) (page, from int, refusal *apiError) {
	if s == "" {
		return 1, 0, nil
	}
	b, err := base64.URLEncoding.DecodeString(s)
	if err == nil {
		_, err = fmt.Sscanf(string(b), "%d:%d", &page, &from)
	}
	if err != nil || page < 1 || from < 0 {
		return 0, 0, validation("Invalid Marker.")
	}
	return page, from, nil
}

func validation(message string) *apiError {
	return &apiError{http.StatusBadRequest, "ValidationError", message}
}

func noSuchEntity(kind, name string) *apiError {
	return &apiError{http.StatusNotFound, "NoSuchEntity", fmt.Sprintf("The %s with name %s cannot be found.", kind, name)}
}
