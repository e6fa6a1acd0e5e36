package awsfake

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ExampleSecret is the secret key of everybody, from AWS's own documentation. So
// is exampleKey.
const (
	exampleKey    = "AKIAIOSFODNN7EXAMPLE"
	ExampleSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

// AWSOptions describe the account that an [AWS] holds. The zero value is
// account 111122223333 of partition aws.
type AWSOptions struct {
	AccountID   string        // default 111122223333
	Partition   string        // default aws
	Region      string        // what Env tells; default eu-west-3
	PageSize    int           // most items in a page, whatever MaxItems asks for; default 1000
	SessionLife time.Duration // of credentials that AssumeRole gives; default 1 h
}

// AWS stands in for the IAM and STS APIs of one account: ListRoles, ListUsers, GetRole,
// GetGroup, GetUser, GetCallerIdentity, AssumeRole and
// AssumeRoleWithWebIdentity, in the query protocol.
//
// A request must carry an Authorization header for the right service; its
// signature is not checked. An access key that AssumeRole gave speaks for its
// session, must come with its token and expires; any other speaks for the user
// rolecall-test. Roles of this account must exist to be assumed; those of other
// accounts need not. Make one with [NewAWS].
type AWS struct {
	server server

	mu        sync.Mutex
	options   AWSOptions
	roles     map[string]Role
	users     map[string]User
	groups    map[string]group
	profiles  map[string]string   // instance profiles: the role of each, or none
	instances map[string]instance // by private DNS name
	sessions  map[string]session  // by access key id
	faults    map[string]*Fault   // by operation
	requests  map[string]int      // by operation
	callers   map[string]string   // by operation: ARN of the last one, whatever the answer
}

// session is what AssumeRole gave to a caller.
type session struct {
	arn     string
	token   string
	expires time.Time
}

// NewAWS returns an account with nothing in it. It serves nothing until Start,
// or until it is given to a server as a handler.
func NewAWS(o AWSOptions) *AWS {
	set := func(s *string, value string) {
		if *s == "" {
			*s = value
		}
	}
	set(&o.AccountID, "111122223333")
	set(&o.Partition, "aws")
	set(&o.Region, "eu-west-3")
	if o.PageSize <= 0 {
		o.PageSize = maxItemsLimit
	}
	if o.SessionLife == 0 {
		o.SessionLife = time.Hour
	}
	return &AWS{
		options:   o,
		roles:     map[string]Role{},
		users:     map[string]User{},
		groups:    map[string]group{},
		profiles:  map[string]string{},
		instances: map[string]instance{},
		sessions:  map[string]session{},
		faults:    map[string]*Fault{},
		requests:  map[string]int{},
		callers:   map[string]string{},
	}
}

// Start serves on a free loopback port and returns the URL. Close ends it.
func (a *AWS) Start() (string, error) { return a.server.start(a) }

// URL is where it serves, or empty before Start.
func (a *AWS) URL() string { return a.server.address() }

// Close ends what Start began and waits for it.
func (a *AWS) Close() error { return a.server.close() }

// Env returns the environment variables, as NAME=value, that make a program
// with the AWS SDK take this for AWS, credentials included. The endpoint of STS
// is named apart because the SDK's web identity chain ignores the common one.
// It must have been started.
func (a *AWS) Env() []string {
	url := a.URL()
	return []string{
		"AWS_ENDPOINT_URL=" + url,
		"AWS_ENDPOINT_URL_STS=" + url,
		"AWS_ACCESS_KEY_ID=" + exampleKey,
		"AWS_SECRET_ACCESS_KEY=" + ExampleSecret,
		"AWS_REGION=" + a.options.Region,
	}
}

// Requests returns how many requests there were for an operation, failed ones
// and retries included.
func (a *AWS) Requests(operation string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.requests[operation]
}

// Actions are the operations that were asked for, refused or not, as policies
// name them, such as iam:ListRoles; sorted.
func (a *AWS) Actions() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []string
	for operation := range a.requests {
		all = append(all, action(operation))
	}
	slices.Sort(all)
	return all
}

// Caller returns the ARN of who last asked for an operation, whatever the
// answer was; empty where nobody did.
func (a *AWS) Caller(operation string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.callers[operation]
}

const (
	iamVersion = "2010-05-08"
	stsVersion = "2011-06-15"
	iamXMLNS   = "https://iam.amazonaws.com/doc/2010-05-08/"
	stsXMLNS   = "https://sts.amazonaws.com/doc/2011-06-15/"
)

// action is an operation as policies name it.
func action(operation string) string {
	if isSTS(operation) {
		return "sts:" + operation
	}
	if isEC2(operation) {
		return "ec2:" + operation
	}
	return "iam:" + operation
}

func isSTS(operation string) bool {
	return operation == "GetCallerIdentity" || strings.HasPrefix(operation, "AssumeRole")
}

// ServeHTTP answers one request.
func (a *AWS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if err := r.ParseForm(); err != nil || r.Method != http.MethodPost {
		writeError(w, "", &apiError{http.StatusBadRequest, "MalformedInput", "a query API takes a POSTed form"})
		return
	}
	operation := r.PostForm.Get("Action")

	a.mu.Lock()
	a.requests[operation]++
	caller, refusal := a.authenticate(r, operation)
	a.callers[operation] = caller
	page, _, markerErr := decodeMarker(cmp.Or(r.PostForm.Get("Marker"), r.PostForm.Get("NextToken")))
	fault := a.take(operation, accessKey(r), page)
	a.mu.Unlock()

	if fault != nil {
		delay := fault.Delay
		if fault.Kind == FaultHang {
			delay = -1
		}
		if !pause(r, delay) || fault.Kind == FaultDropped {
			panic(http.ErrAbortHandler) // net/http's way of closing a connection without an answer
		}
		switch fault.Kind {
		case FaultForbidden:
			http.Error(w, "Forbidden", http.StatusForbidden)
			return
		case FaultEmpty:
			w.WriteHeader(http.StatusOK)
			return
		}
	}
	if refusal == nil {
		refusal = fault.asError(caller, operation)
	}
	if refusal == nil {
		refusal = markerErr
	}
	if refusal != nil {
		writeError(w, operation, refusal)
		return
	}

	result, err := a.call(operation, caller, r.PostForm, fault)
	if err != nil {
		writeError(w, operation, err)
		return
	}
	body, encodeErr := encode(operation, result)
	if encodeErr != nil {
		writeError(w, operation, &apiError{http.StatusInternalServerError, "InternalFailure", encodeErr.Error()})
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if fault != nil && fault.Kind == FaultCut {
		_, _ = w.Write(body[:len(body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler) // likewise, in the middle of one
	}
	_, _ = w.Write(body)
}

func (a *AWS) call(operation, caller string, form url.Values, fault *Fault) (any, *apiError) {
	want := iamVersion
	if isSTS(operation) {
		want = stsVersion
	}
	if isEC2(operation) {
		want = ec2Version
	}
	if got := form.Get("Version"); got != want {
		return nil, &apiError{http.StatusBadRequest, "InvalidAction", fmt.Sprintf("could not find operation %s for version %s", operation, got)}
	}
	if fault != nil && fault.Kind == FaultHollow {
		return struct{}{}, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch operation {
	case "ListRoles":
		return a.listRoles(form, fault)
	case "ListUsers":
		return a.listUsers(form, fault)
	case "GetRole":
		return a.getRole(form)
	case "GetGroup":
		return a.getGroup(form, fault)
	case "GetUser":
		return a.getUser(form)
	case "GetInstanceProfile":
		return a.getInstanceProfile(form)
	case "DescribeInstances":
		return a.describeInstances(form)
	case "GetCallerIdentity":
		return a.getCallerIdentity(caller), nil
	case "AssumeRole":
		return a.assumeRole(form, "")
	case "AssumeRoleWithWebIdentity":
		return a.assumeRoleWithWebIdentity(form)
	}
	return nil, &apiError{http.StatusBadRequest, "InvalidAction", fmt.Sprintf("could not find operation %s", operation)}
}

// authenticate returns the ARN of who asks, by the access key that the
// Authorization header names. Called with mu held.
func (a *AWS) authenticate(r *http.Request, operation string) (arn string, refusal *apiError) {
	if operation == "AssumeRoleWithWebIdentity" {
		return "", nil // asked without AWS credentials; its token is looked at later
	}
	scope, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=")
	if !ok {
		return "", &apiError{http.StatusForbidden, "MissingAuthenticationToken", "Request is missing Authentication Token"}
	}
	scope, _, _ = strings.Cut(scope, ",")
	parts := strings.Split(scope, "/") // key/date/region/service/aws4_request
	service, _, _ := strings.Cut(action(operation), ":")
	if len(parts) != 5 || parts[3] != service {
		return "", &apiError{http.StatusForbidden, "SignatureDoesNotMatch", fmt.Sprintf("Credential should be scoped to correct service: '%s'.", service)}
	}
	s, ok := a.sessions[parts[0]]
	if !ok {
		return "arn:" + a.options.Partition + ":iam::" + a.options.AccountID + ":user/rolecall-test", nil
	}
	if r.Header.Get("X-Amz-Security-Token") != s.token {
		return s.arn, &apiError{http.StatusForbidden, "InvalidClientTokenId", "The security token included in the request is invalid"}
	}
	if time.Now().After(s.expires) {
		return s.arn, (&Fault{Kind: FaultExpired}).asError(s.arn, operation)
	}
	return s.arn, nil
}

// encode wraps a result as the query protocol does:
// <OpResponse><OpResult>…</OpResult><ResponseMetadata/></OpResponse>.
func encode(operation string, result any) ([]byte, error) {
	ns := iamXMLNS
	if isSTS(operation) {
		ns = stsXMLNS
	}
	var b bytes.Buffer
	e := xml.NewEncoder(&b)
	e.Indent("", "  ")
	if isEC2(operation) { // whose answers are wrapped once
		err := e.EncodeElement(result, xml.StartElement{Name: xml.Name{Space: ec2XMLNS, Local: operation + "Response"}})
		return b.Bytes(), err
	}
	root := xml.StartElement{Name: xml.Name{Space: ns, Local: operation + "Response"}}
	if err := e.EncodeToken(root); err != nil {
		return nil, err
	}
	if err := e.EncodeElement(result, xml.StartElement{Name: xml.Name{Local: operation + "Result"}}); err != nil {
		return nil, err
	}
	if err := e.EncodeElement(requestID{rand.Text()}, xml.StartElement{Name: xml.Name{Local: "ResponseMetadata"}}); err != nil {
		return nil, err
	}
	if err := e.EncodeToken(root.End()); err != nil {
		return nil, err
	}
	if err := e.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

type requestID struct {
	RequestID string `xml:"RequestId"`
}

// writeError answers with an error as IAM and STS word it.
func writeError(w http.ResponseWriter, operation string, e *apiError) {
	ns := iamXMLNS
	if isSTS(operation) {
		ns = stsXMLNS
	}
	fault := "Sender"
	if e.status >= http.StatusInternalServerError {
		fault = "Receiver"
	}
	type detail struct {
		Type          string `xml:",omitempty"`
		Code, Message string
	}
	if isEC2(operation) {
		writeXML(w, e.status, struct {
			XMLName   xml.Name
			Error     detail `xml:"Errors>Error"`
			RequestID string
		}{xml.Name{Local: "Response"}, detail{"", e.code, e.message}, rand.Text()})
		return
	}
	writeXML(w, e.status, struct {
		XMLName   xml.Name
		Error     detail
		RequestID string `xml:"RequestId"`
	}{xml.Name{Space: ns, Local: "ErrorResponse"}, detail{fault, e.code, e.message}, rand.Text()})
}

func writeXML(w http.ResponseWriter, status int, v any) {
	body, err := xml.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	_, _ = io.Copy(w, bytes.NewReader(body))
}

// accessKey is the id of the key that a request is signed with; empty for none.
func accessKey(r *http.Request) string {
	_, scope, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	key, _, _ := strings.Cut(scope, "/")
	return key
}
