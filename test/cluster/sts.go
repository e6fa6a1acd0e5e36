package cluster

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/rolecall/rolecall/test/awsfake"
)

// stsHost is under what name STS is asked in the region of all nodes.
const stsHost = "sts.eu-west-3.amazonaws.com"

// sts answers presigned requests of GetCallerIdentity, which is what the tokens
// of aws-iam-authenticator are. It checks their signatures.
type sts struct {
	mu      sync.Mutex
	callers map[string]string // ARN by access key id; the secret is everybody's
}

// serve answers under STS's own name, with a certificate of the cluster's
// authority, until the server is closed.
func (s *sts) serve(certificate tls.Certificate) (*http.Server, error) {
	listener, err := tls.Listen("tcp4", gateway.String()+":443", &tls.Config{
		Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12,
	})
	if err != nil {
		return nil, fmt.Errorf("serve STS: %w", err)
	}
	server := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(listener) //nolint:errcheck // always ErrServerClosed
	return server, nil
}

// know makes an identity that signs with an access key.
func (s *sts) know(accessKey, arn string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.callers[accessKey] = arn
}

func (s *sts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	arn, err := s.caller(r)
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusForbidden)
		_ = json.NewEncoder(w).Encode(map[string]any{"Error": map[string]string{"Code": "SignatureDoesNotMatch", "Message": err.Error()}})
		return
	}
	session := arn[strings.LastIndexByte(arn, '/')+1:]
	result := map[string]string{"Account": strings.Split(arn, ":")[4], "Arn": arn, "UserId": "AIDAIOSFODNN7EXAMPLE"}
	if strings.Contains(arn, ":assumed-role/") {
		result["UserId"] = "AROAIOSFODNN7EXAMPLE:" + session
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"GetCallerIdentityResponse": map[string]any{"GetCallerIdentityResult": result}})
}

// caller is who signed a request: it signs the same request and compares.
func (s *sts) caller(r *http.Request) (string, error) {
	query := r.URL.Query()
	key, _, _ := strings.Cut(query.Get("X-Amz-Credential"), "/")
	s.mu.Lock()
	arn, ok := s.callers[key]
	s.mu.Unlock()
	if !ok {
		return "", fmt.Errorf("the access key %s is nobody's", key)
	}
	at, err := time.Parse("20060102T150405Z", query.Get("X-Amz-Date"))
	if err != nil {
		return "", err
	}
	unsigned := url.Values{}
	for name, values := range query {
		switch name {
		case "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Signature", "X-Amz-Security-Token":
		default:
			unsigned[name] = values
		}
	}
	again, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "https://"+r.Host+"/?"+unsigned.Encode(), nil)
	if err != nil {
		return "", err
	}
	for _, name := range strings.Split(query.Get("X-Amz-SignedHeaders"), ";") {
		if value := r.Header.Get(name); value != "" {
			again.Header.Set(name, value)
		}
	}
	empty := sha256.Sum256(nil)
	signed, _, err := v4.NewSigner().PresignHTTP(context.Background(), aws.Credentials{
		AccessKeyID: key, SecretAccessKey: awsfake.ExampleSecret, SessionToken: query.Get("X-Amz-Security-Token"),
	}, again, hex.EncodeToString(empty[:]), "sts", "eu-west-3", at)
	if err != nil {
		return "", err
	}
	parsed, err := url.Parse(signed)
	if err != nil {
		return "", err
	}
	if got, want := query.Get("X-Amz-Signature"), parsed.Query().Get("X-Amz-Signature"); got != want {
		return "", fmt.Errorf("the signature is not that of %s for cluster %q", arn, r.Header.Get("X-K8s-Aws-Id"))
	}
	return arn, nil
}
