package awsfake

import (
	"crypto/rand"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// IMDSOptions describe the instance that an [IMDS] speaks for. The zero value
// is an instance of account 111122223333 in eu-west-3a without a role.
type IMDSOptions struct {
	Role       string // name of the role; empty: no instance profile is attached
	Profile    string // name of the instance profile; default ROLE-profile, since the two may differ
	AccountID  string // default 111122223333
	Region     string // default eu-west-3
	Zone       string // default the region's zone a
	InstanceID string // default i-0123456789abcdef0
	VPC        string // id; default [DefaultVPC]

	AccessKeyID string // of the role's credentials; default ASIAIOSFODNN7EXAMPLE
}

// IMDSFault is a way in which an [IMDS] fails.
type IMDSFault int

const (
	IMDSHealthy      IMDSFault = iota // answers as it should
	IMDSUnauthorized                  // hands out tokens, then refuses every one: 401
	IMDSDisabled                      // HttpEndpoint is off: 403 to all
	IMDSNoRole                        // no instance profile: 404 below iam/
	IMDSUnavailable                   // 503 to all
	IMDSHang                          // takes requests and never answers, as a hop limit of 1 makes it look
)

// Paths of the instance metadata service that rolecall and the SDK read.
const (
	IMDSTokenPath       = "/latest/api/token"
	IMDSDocumentPath    = "/latest/dynamic/instance-identity/document"
	IMDSCredentialsPath = "/latest/meta-data/iam/security-credentials/"
)

// DefaultVPC is the VPC of instances that are put into no other one.
const DefaultVPC = "vpc-0123456789abcdef0"

// imdsMAC is the address of the instance's primary network interface.
const imdsMAC = "0e:49:61:0f:c3:11"

const (
	tokenHeader    = "X-Aws-Ec2-Metadata-Token"
	tokenTTLHeader = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
	maxTokenTTL    = 21600 // seconds
)

// IMDS stands in for the instance metadata service of one node, version 2
// alone, by the rules of
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-v2-how-it-works.html:
// a PUT that names a TTL hands out a token, refusing proxied requests; a GET
// without a valid token gets 401. Make one with [NewIMDS].
type IMDS struct {
	server server

	mu       sync.Mutex
	options  IMDSOptions
	fault    IMDSFault
	delay    time.Duration
	tokens   map[string]time.Time // to their expiry
	bodies   map[string]string    // what SetBody put in place of an answer, by path
	requests map[string]int       // by "METHOD path"
}

// NewIMDS returns the stand-in for an instance. It serves nothing until Start,
// or until it is given to a server as a handler.
func NewIMDS(o IMDSOptions) *IMDS {
	set := func(s *string, value string) {
		if *s == "" {
			*s = value
		}
	}
	set(&o.AccountID, "111122223333")
	set(&o.Region, "eu-west-3")
	set(&o.Zone, o.Region+"a")
	set(&o.InstanceID, "i-0123456789abcdef0")
	set(&o.VPC, DefaultVPC)
	set(&o.AccessKeyID, "ASIAIOSFODNN7EXAMPLE")
	return &IMDS{
		options:  o,
		tokens:   map[string]time.Time{},
		bodies:   map[string]string{},
		requests: map[string]int{},
	}
}

// Start serves on a free loopback port and returns the URL. Close ends it.
func (m *IMDS) Start() (string, error) { return m.server.start(m) }

// URL is where it serves, or empty before Start.
func (m *IMDS) URL() string { return m.server.address() }

// Close ends what Start began and waits for it.
func (m *IMDS) Close() error { return m.server.close() }

// Env returns the environment variables, as NAME=value, that make a program
// with the AWS SDK take this for its instance's metadata service. It must have
// been started.
func (m *IMDS) Env() []string {
	return []string{"AWS_EC2_METADATA_SERVICE_ENDPOINT=" + m.URL()}
}

// Set makes it fail in one way from now on, in place of any earlier one.
// [IMDSHealthy] mends it.
func (m *IMDS) Set(f IMDSFault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = f
}

// SetDelay makes every answer come this much later; zero mends it.
func (m *IMDS) SetDelay(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.delay = d
}

// SetRole changes the role of the instance; empty detaches its profile.
func (m *IMDS) SetRole(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.options.Role = name
}

// SetBody puts a text in place of the answer at a path, with status 200; an
// empty text is an empty answer. It is for answers that are wrong.
func (m *IMDS) SetBody(path, body string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bodies[path] = body
}

// ExpireTokens makes every token handed out so far invalid.
func (m *IMDS) ExpireTokens() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.tokens)
}

// Requests returns how often each "METHOD path" was asked for, failures
// included.
func (m *IMDS) Requests() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.requests)
}

// ServeHTTP answers one request.
func (m *IMDS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	m.requests[r.Method+" "+r.URL.Path]++
	fault, delay := m.fault, m.delay
	m.mu.Unlock()

	if fault == IMDSHang {
		delay = -1
	}
	// The body is read first: the server sees that a client has gone only once
	// it has the whole request.
	_, _ = io.Copy(io.Discard, r.Body)
	if !pause(r, delay) {
		return
	}
	status, body := m.answer(r, fault, w.Header())
	w.Header().Set("Server", "EC2ws")
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(status)
	if status != http.StatusOK {
		body = "<html><title>" + strconv.Itoa(status) + " - " + http.StatusText(status) + "</title></html>\n"
	}
	_, _ = io.WriteString(w, body)
}

func (m *IMDS) answer(r *http.Request, fault IMDSFault, header http.Header) (status int, body string) {
	switch fault {
	case IMDSDisabled:
		return http.StatusForbidden, ""
	case IMDSUnavailable:
		return http.StatusServiceUnavailable, ""
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.URL.Path == IMDSTokenPath {
		return m.token(r, header)
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return http.StatusMethodNotAllowed, ""
	}
	expires, ok := m.tokens[r.Header.Get(tokenHeader)]
	if !ok || time.Now().After(expires) || fault == IMDSUnauthorized {
		return http.StatusUnauthorized, ""
	}
	if fault == IMDSNoRole && strings.HasPrefix(r.URL.Path, "/latest/meta-data/iam/") {
		return http.StatusNotFound, ""
	}
	if b, ok := m.bodies[r.URL.Path]; ok {
		return http.StatusOK, b
	}
	return m.metadata(r.URL.Path)
}

// token hands out a token. Called with mu held.
func (m *IMDS) token(r *http.Request, header http.Header) (status int, body string) {
	if r.Method != http.MethodPut {
		return http.StatusMethodNotAllowed, ""
	}
	if r.Header.Get("X-Forwarded-For") != "" {
		return http.StatusForbidden, ""
	}
	ttl, err := strconv.Atoi(r.Header.Get(tokenTTLHeader))
	if err != nil || ttl < 1 || ttl > maxTokenTTL {
		return http.StatusBadRequest, ""
	}
	token := rand.Text()
	m.tokens[token] = time.Now().Add(time.Duration(ttl) * time.Second)
	header.Set(tokenTTLHeader, strconv.Itoa(ttl))
	if b, ok := m.bodies[IMDSTokenPath]; ok {
		return http.StatusOK, b
	}
	return http.StatusOK, token
}

// metadata answers a GET that carries a valid token. Called with mu held.
func (m *IMDS) metadata(path string) (status int, body string) {
	o := m.options
	partition := partitionOf(o.Region)
	switch path {
	case IMDSDocumentPath:
		return asJSON(map[string]any{
			"accountId": o.AccountID, "region": o.Region, "availabilityZone": o.Zone, "instanceId": o.InstanceID,
			"architecture": "x86_64", "imageId": "ami-0123456789abcdef0", "instanceType": "m6i.large",
			"pendingTime": "2024-01-02T03:04:05Z", "privateIp": "10.0.0.10", "version": "2017-09-30",
		})
	case "/latest/meta-data/instance-id":
		return http.StatusOK, o.InstanceID
	case "/latest/meta-data/placement/region":
		return http.StatusOK, o.Region
	case "/latest/meta-data/placement/availability-zone":
		return http.StatusOK, o.Zone
	case "/latest/meta-data/mac":
		return http.StatusOK, imdsMAC
	case "/latest/meta-data/network/interfaces/macs/" + imdsMAC + "/vpc-id":
		return http.StatusOK, o.VPC
	case "/latest/meta-data/services/partition":
		return http.StatusOK, partition
	}
	if o.Role == "" {
		return http.StatusNotFound, ""
	}
	switch path {
	case strings.TrimSuffix(IMDSCredentialsPath, "/"), IMDSCredentialsPath:
		return http.StatusOK, o.Role
	case IMDSCredentialsPath + o.Role:
		now := time.Now().UTC().Truncate(time.Second)
		return asJSON(map[string]any{
			"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": now,
			"AccessKeyId": o.AccessKeyID, "SecretAccessKey": ExampleSecret, "Token": "instance",
			"Expiration": now.Add(6 * time.Hour),
		})
	case "/latest/meta-data/iam/info":
		profile := o.Profile
		if profile == "" {
			profile = o.Role + "-profile"
		}
		return asJSON(map[string]any{
			"Code":               "Success",
			"LastUpdated":        time.Now().UTC().Truncate(time.Second),
			"InstanceProfileArn": "arn:" + partition + ":iam::" + o.AccountID + ":instance-profile/" + profile,
			"InstanceProfileId":  "AIPAIOSFODNN7EXAMPLE",
		})
	}
	return http.StatusNotFound, ""
}

func asJSON(v any) (status int, body string) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return http.StatusInternalServerError, ""
	}
	return http.StatusOK, string(b)
}

// partitionOf covers the regions that tests use.
func partitionOf(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}
