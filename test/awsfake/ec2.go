package awsfake

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

const (
	ec2Version = "2016-11-15"
	ec2XMLNS   = "http://ec2.amazonaws.com/doc/2016-11-15/"
)

// instance is an EC2 instance, running.
type instance struct {
	profile string
	id      string // empty: by its place among all
}

// SetInstance starts an instance of that private DNS name with an instance
// profile, none if that is empty.
func (a *AWS) SetInstance(privateDNSName, profile string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.instances[privateDNSName] = instance{profile: profile}
}

// SetInstanceID gives an instance that was set an id of its own.
func (a *AWS) SetInstanceID(privateDNSName, id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := a.instances[privateDNSName]
	i.id = id
	a.instances[privateDNSName] = i
}

// RemoveInstance ends an instance.
func (a *AWS) RemoveInstance(privateDNSName string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.instances, privateDNSName)
}

// SetProfile makes an instance profile with a role, or without one, which is
// made too if it is not there.
func (a *AWS) SetProfile(profile, role string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, there := a.roles[role]; role != "" && !there {
		a.roles[role] = Role{Name: role, Path: "/", Created: epoch()}
	}
	a.profiles[profile] = role
}

type (
	instanceXML struct {
		ID      string      `xml:"instanceId"`
		State   string      `xml:"instanceState>name"`
		DNSName string      `xml:"privateDnsName"`
		Profile *profileRef `xml:"iamInstanceProfile"`
	}
	profileRef struct {
		ARN string `xml:"arn"`
		ID  string `xml:"id"`
	}
	reservationXML struct {
		ID        string        `xml:"reservationId"`
		Instances []instanceXML `xml:"instancesSet>item"`
	}
	describeInstancesResult struct {
		RequestID    string           `xml:"requestId"`
		Reservations []reservationXML `xml:"reservationSet>item"`
		NextToken    string           `xml:"nextToken,omitempty"`
	}
	profileXML struct {
		Path       string
		Name       string `xml:"InstanceProfileName"`
		ID         string `xml:"InstanceProfileId"`
		ARN        string `xml:"Arn"`
		CreateDate string
		Roles      list[roleXML]
	}
	getInstanceProfileResult struct{ InstanceProfile profileXML }
)

// describeInstances knows the filter private-dns-name, with wildcards as EC2
// has them, and ids, and takes every instance for running. Called with mu held.
func (a *AWS) describeInstances(form url.Values) (any, *apiError) {
	var asked []string
	for i := 1; form.Has(fmt.Sprintf("InstanceId.%d", i)); i++ {
		id := form.Get(fmt.Sprintf("InstanceId.%d", i))
		name, ok := a.instanceOf(id)
		if !ok {
			return nil, &apiError{400, "InvalidInstanceID.NotFound", "The instance ID '" + id + "' does not exist"}
		}
		asked = append(asked, name)
	}
	for i := 1; form.Has(fmt.Sprintf("Filter.%d.Name", i)); i++ {
		name := fmt.Sprintf("Filter.%d.", i)
		switch form.Get(name + "Name") {
		case "private-dns-name":
			for j := 1; form.Has(fmt.Sprintf("%sValue.%d", name, j)); j++ {
				asked = append(asked, form.Get(fmt.Sprintf("%sValue.%d", name, j)))
			}
		case "instance-state-name":
		default:
			return nil, &apiError{400, "InvalidParameterValue", "The filter is invalid"}
		}
	}
	if len(asked) > 200 {
		return nil, &apiError{400, "FilterLimitExceeded", "The maximum number of filter values specified on a single call is 200"}
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(a.instances)) {
		if slices.ContainsFunc(asked, func(pattern string) bool { return pattern == name || pattern == "*" }) {
			names = append(names, name)
		}
	}
	page, from, refusal := decodeMarker(form.Get("NextToken"))
	if refusal != nil {
		return nil, refusal
	}
	from = min(from, len(names))
	to := min(from+a.options.PageSize, len(names))
	res := describeInstancesResult{RequestID: "7a62c49f-347e-4fc4-9331-6e8eEXAMPLE"}
	if to < len(names) {
		res.NextToken = encodeMarker(page+1, to)
	}
	for i, name := range names[from:to] {
		id := cmp.Or(a.instances[name].id, fmt.Sprintf("i-%017x", from+i+1))
		x := instanceXML{ID: id, State: "running", DNSName: name}
		if profile := a.instances[name].profile; profile != "" {
			x.Profile = &profileRef{a.arn("instance-profile", "/", profile), "AIPAIOSFODNN7EXAMPLE"}
		}
		res.Reservations = append(res.Reservations, reservationXML{fmt.Sprintf("r-%017x", from+i+1), []instanceXML{x}})
	}
	return res, nil
}

// instanceOf is the private DNS name of the instance with that id.
func (a *AWS) instanceOf(id string) (name string, ok bool) {
	for name, i := range a.instances {
		if i.id == id {
			return name, true
		}
	}
	return "", false
}

func (a *AWS) getInstanceProfile(form url.Values) (any, *apiError) {
	name := form.Get("InstanceProfileName")
	role, ok := a.profiles[name]
	if !ok {
		return nil, noSuchEntity("instance profile", name)
	}
	x := profileXML{
		Path: "/", Name: name, ID: "AIPAIOSFODNN7EXAMPLE", ARN: a.arn("instance-profile", "/", name),
		CreateDate: "2024-01-01T00:00:00Z",
	}
	if role != "" {
		x.Roles.Member = append(x.Roles.Member, a.roleXML(a.roles[role]))
	}
	return getInstanceProfileResult{x}, nil
}

// isEC2 reports whether an operation is EC2's.
func isEC2(operation string) bool { return strings.HasPrefix(operation, "Describe") }
