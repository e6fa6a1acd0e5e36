package awsfake

import (
	"crypto/sha256"
	"encoding/hex"
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
	dnsName string
	profile string
	vpc     string
	id      string
}

// SetInstance starts an instance of that private DNS name in [DefaultVPC] with an
// instance profile, none if that is empty.
func (a *AWS) SetInstance(privateDNSName, profile string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.instances[privateDNSName] = instance{dnsName: privateDNSName, profile: profile, vpc: DefaultVPC, id: instanceID(privateDNSName)}
}

// instanceID makes an id that is always the same for a name.
func instanceID(name string) string {
	sum := sha256.Sum256([]byte(name))
	return "i-0" + hex.EncodeToString(sum[:8])
}

// SetInstanceIn starts an instance of that id in a VPC. Instances of several VPCs, or
// with several ids, may have one private DNS name.
func (a *AWS) SetInstanceIn(vpc, id, privateDNSName, profile string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.instances[id] = instance{dnsName: privateDNSName, profile: profile, vpc: vpc, id: id}
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
		VPC     string      `xml:"vpcId"`
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

// describeInstances knows the filters private-dns-name, instance-id and vpc-id, with
// wildcards as EC2 has them, and ids, and takes every instance for running. Called with
// mu held.
func (a *AWS) describeInstances(form url.Values) (any, *apiError) {
	var keep []func(key string, i instance) bool
	var ids []string
	for i := 1; form.Has(fmt.Sprintf("InstanceId.%d", i)); i++ {
		id := form.Get(fmt.Sprintf("InstanceId.%d", i))
		name, ok := a.instanceOf(id)
		if !ok {
			return nil, &apiError{400, "InvalidInstanceID.NotFound", "The instance ID '" + id + "' does not exist"}
		}
		ids = append(ids, name)
	}
	if len(ids) > 0 {
		keep = append(keep, func(key string, _ instance) bool { return slices.Contains(ids, key) })
	}
	total := 0
	for i := 1; form.Has(fmt.Sprintf("Filter.%d.Name", i)); i++ {
		name := fmt.Sprintf("Filter.%d.", i)
		var of func(key string, i instance) string
		switch form.Get(name + "Name") {
		case "private-dns-name":
			of = func(_ string, i instance) string { return i.dnsName }
		case "instance-id":
			of = func(_ string, i instance) string { return i.id }
		case "vpc-id":
			of = func(_ string, i instance) string { return i.vpc }
		case "instance-state-name":
			continue
		default:
			return nil, &apiError{400, "InvalidParameterValue", "The filter is invalid"}
		}
		var values []string
		for j := 1; form.Has(fmt.Sprintf("%sValue.%d", name, j)); j++ {
			values = append(values, form.Get(fmt.Sprintf("%sValue.%d", name, j)))
		}
		total = max(total, len(values))
		keep = append(keep, func(key string, i instance) bool {
			return slices.ContainsFunc(values, func(pattern string) bool { return pattern == of(key, i) || pattern == "*" })
		})
	}
	if total > 200 {
		return nil, &apiError{400, "FilterLimitExceeded", "The maximum number of filter values specified on a single call is 200"}
	}
	var names []string
	for _, key := range slices.Sorted(maps.Keys(a.instances)) {
		if !slices.ContainsFunc(keep, func(k func(string, instance) bool) bool { return !k(key, a.instances[key]) }) {
			names = append(names, key)
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
		x := instanceXML{ID: a.instances[name].id, State: "running", DNSName: a.instances[name].dnsName, VPC: a.instances[name].vpc}
		if profile := a.instances[name].profile; profile != "" {
			x.Profile = &profileRef{a.arn("instance-profile", "/", profile), "AIPAIOSFODNN7EXAMPLE"}
		}
		res.Reservations = append(res.Reservations, reservationXML{fmt.Sprintf("r-%017x", from+i+1), []instanceXML{x}})
	}
	return res, nil
}

// instanceOf is the key of the instance with that id.
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
