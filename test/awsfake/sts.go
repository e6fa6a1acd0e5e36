package awsfake

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"time"
)

type (
	getCallerIdentityResult struct {
		ARN     string `xml:"Arn"`
		UserID  string `xml:"UserId"`
		Account string
	}
	assumeRoleResult struct {
		AssumedRoleUser struct {
			AssumedRoleID string `xml:"AssumedRoleId"`
			ARN           string `xml:"Arn"`
		}
		Credentials struct {
			AccessKeyID     string `xml:"AccessKeyId"`
			SecretAccessKey string
			SessionToken    string
			Expiration      string
		}
		SubjectFromWebIdentityToken string `xml:",omitempty"`
	}
)

func (a *AWS) getCallerIdentity(caller string) any {
	account := a.options.AccountID
	if parts := strings.Split(caller, ":"); len(parts) == 6 {
		account = parts[4]
	}
	return getCallerIdentityResult{ARN: caller, UserID: "AIDAIOSFODNN7EXAMPLE", Account: account}
}

// assumeRole opens a session. A role of this account that does not exist is
// refused in the words of one that may not be assumed, as STS does.
func (a *AWS) assumeRole(form url.Values, subject string) (any, *apiError) {
	roleARN, sessionName := form.Get("RoleArn"), form.Get("RoleSessionName")
	parts := strings.SplitN(roleARN, ":", 6)
	if len(parts) != 6 || parts[2] != "iam" || !strings.HasPrefix(parts[5], "role/") || sessionName == "" {
		return nil, validation("RoleArn or RoleSessionName is invalid")
	}
	account, name := parts[4], parts[5][strings.LastIndexByte(parts[5], '/')+1:]
	if r, ok := a.roles[name]; account == a.options.AccountID && (!ok || a.arn("role", r.Path, r.Name) != roleARN) {
		return nil, &apiError{http.StatusForbidden, "AccessDenied", "not authorized to perform: sts:AssumeRole on resource: " + roleARN}
	}
	s := session{
		arn:     "arn:" + parts[1] + ":sts::" + account + ":assumed-role/" + name + "/" + sessionName,
		token:   rand.Text(),
		expires: time.Now().Add(a.options.SessionLife),
	}
	key := "ASIA" + rand.Text()[:16]
	a.sessions[key] = s

	var res assumeRoleResult
	res.AssumedRoleUser.AssumedRoleID = "AROAIOSFODNN7EXAMPLE:" + sessionName
	res.AssumedRoleUser.ARN = s.arn
	res.Credentials.AccessKeyID = key
	res.Credentials.SecretAccessKey = ExampleSecret
	res.Credentials.SessionToken = s.token
	res.Credentials.Expiration = s.expires.UTC().Format(time.RFC3339Nano)
	res.SubjectFromWebIdentityToken = subject
	return res, nil
}

func (a *AWS) assumeRoleWithWebIdentity(form url.Values) (any, *apiError) {
	if form.Get("WebIdentityToken") == "" {
		return nil, &apiError{http.StatusBadRequest, "InvalidIdentityToken", "The ID Token provided is not a valid JWT."}
	}
	return a.assumeRole(form, "system:serviceaccount:rolecall:rolecall")
}
