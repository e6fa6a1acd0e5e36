package awsauth

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// This file lints the ConfigMap around the data: what the authenticator does not
// read of it, and what hinders that it is written.

// LintObject says of a whole ConfigMap what [Lint] says of its data, and what in the
// object keeps the data from being read or written: keys in binaryData, an object
// that takes no change, another tool that writes it from a source of its own. How
// grave it is follows from who loses access by it ([LostAccess]). namespace and name
// are where the authenticator looks, kube-system and aws-auth where they are empty: an
// object elsewhere lets in nobody. An object without a namespace or name says nothing
// of its place; that it lacks the namespace is noted. The ConfigMap is not changed.
// Findings are in the order of [Lint]; those of the object come last and have no line.
func LintObject(cm *corev1.ConfigMap, namespace, name string) []Finding {
	found := Lint(cm.Data)
	o := &objectLinter{linter: newLinter(cm.Data), cm: cm}
	o.place(orDefault(namespace, Namespace), orDefault(name, Name))
	o.binaryData()
	o.immutable()
	o.managers()
	sortFindings(o.found)
	return append(found, o.found...)
}

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// FixObject returns the ConfigMap with every finding fixed that can be without asking
// what was meant, and those findings: what [Mend] does with the data, and keys moved
// from binaryData to data, in UTF-8. Nobody is mapped otherwise who is mapped today.
// The ConfigMap that was given is not changed; one in which there is nothing to fix
// comes back as it is.
func FixObject(cm *corev1.ConfigMap) (*corev1.ConfigMap, []Finding) {
	out := cm.DeepCopy()
	var done []Finding
	o := &objectLinter{linter: newLinter(cm.Data), cm: cm}
	o.binaryData()
	for i := range o.found {
		f := &o.found[i]
		if !f.Mendable {
			continue
		}
		text, _, _ := DecodeText(cm.BinaryData[f.Key])
		if out.Data == nil {
			out.Data = map[string]string{}
		}
		out.Data[f.Key] = text
		delete(out.BinaryData, f.Key)
		done = append(done, *f)
	}
	mended, more := Mend(out.Data)
	if len(more) > 0 {
		out.Data = mended
	}
	return out, append(done, more...)
}

// objectLinter looks at the ConfigMap around the data.
type objectLinter struct {
	*linter
	cm *corev1.ConfigMap
}

// hasEntries reports whether the data lets anybody in.
func hasEntries(data map[string]string) bool { return len(LostAccess(data, nil)) > 0 }

// place is about an object that the authenticator does not read.
func (o *objectLinter) place(namespace, name string) {
	isNamespace, isName := o.cm.Namespace, o.cm.Name
	if isName == "" && isNamespace == "" {
		return
	}
	is := strings.TrimPrefix(isNamespace+"/"+isName, "/")
	switch {
	case (isNamespace == namespace || isNamespace == "") && isName == name:
		if isNamespace == "" {
			f := o.add(RuleWrongObject, "", "the manifest names no namespace")
			f.Severity = Note
			f.Consequence = fmt.Sprintf("kubectl writes it to the namespace of its context, and the authenticator reads %s/%s alone", namespace, name)
			f.Write = "namespace: " + namespace
		}
		return
	case !hasEntries(o.cm.Data):
		return // it is no aws-auth that would be missed
	}
	f := o.add(RuleWrongObject, "", fmt.Sprintf("the ConfigMap is %s", is))
	lost := LostAccess(o.cm.Data, nil)
	f.Consequence = fmt.Sprintf("the authenticator reads %s/%s alone, so this one lets nobody in: %s", namespace, name, DescribeLost(lost))
	f.Write = fmt.Sprintf("namespace: %s, name: %s", namespace, name)
	if isName != name && !almost(isName, name) && !strings.Contains(isName, name) {
		// Others keep such lists in ConfigMaps of their own.
		f.Severity = Warning
	}
}

// binaryData is about keys that are there as bytes.
func (o *objectLinter) binaryData() {
	for _, name := range slices.Sorted(maps.Keys(o.cm.BinaryData)) {
		kind := kindOf(name)
		if kind == "" {
			continue
		}
		body := o.cm.BinaryData[name]
		text, encoding, ok := DecodeText(body)
		f := o.add(RuleBinaryData, name, fmt.Sprintf("%s stands in binaryData", name))
		if !ok {
			f.Message += ", in an encoding that is none of UTF-8 and UTF-16"
			continue
		}
		f.Message += ", in " + encoding
		after := maps.Clone(o.cm.Data)
		if after == nil {
			after = map[string]string{}
		}
		if !isBlank(after[name]) {
			f.Message += ", and in data"
			f.Write = "one of the two"
			continue
		}
		after[name] = text
		fixed, _ := Mend(after)
		if lost := LostAccess(fixed, o.cm.Data); len(lost) > 0 {
			f.Consequence = "the authenticator reads data alone: " + DescribeLost(lost)
		} else if !hasEntries(map[string]string{name: text}) {
			f.Severity, f.Consequence = Warning, "the authenticator reads data alone, and finds nothing of it"
		}
		f.Mendable = mappedAsBefore(o.cm.Data, fixed, nil)
	}
}

// immutable is about an object that takes no change.
func (o *objectLinter) immutable() {
	if o.cm.Immutable != nil && *o.cm.Immutable {
		o.add(RuleImmutable, "", "")
	}
}

// managers is about tools that undo what is edited.
func (o *objectLinter) managers() {
	for _, m := range Managers(&o.cm.ObjectMeta) {
		keys := slices.DeleteFunc(slices.Clone(m.Keys), func(k string) bool { return kindOf(k) == "" })
		if m.Keys != nil && len(keys) == 0 {
			continue
		}
		what := "aws-auth"
		if len(keys) > 0 {
			what = strings.Join(keys, ", ")
		}
		f := o.add(RuleManagedBy, "", fmt.Sprintf("%s manages %s from a source of its own", m.Tool, what))
		if m.FieldManager != "" && m.FieldManager != string(m.Tool) {
			f.Message += fmt.Sprintf(" (field manager %q)", m.FieldManager)
		}
		f.Consequence = "what is edited beside that source is undone: " + m.Undoes()
		if applied, ok := lastApplied(o.cm); ok && (m.Tool == KubectlApply || m.Tool == ArgoCD) {
			if lost := LostAccess(o.cm.Data, applied); len(lost) > 0 {
				f.Severity = Warning
				f.Consequence = fmt.Sprintf("%s: %s", m.Undoes(), DescribeLost(lost))
			} else {
				f.Consequence += "; today it would take access from nobody"
			}
			continue
		}
		if o.rolecalls(keys) {
			f.Severity = Warning
			f.Consequence = fmt.Sprintf("%s, and rolecall's entries with it", m.Undoes())
		}
	}
}

// rolecalls reports whether an entry of keys carries rolecall's mark; no keys are all.
func (o *objectLinter) rolecalls(keys []string) bool {
	for _, kind := range Kinds() {
		if len(keys) > 0 && !slices.Contains(keys, kind.Key()) {
			continue
		}
		if slices.ContainsFunc(o.list(kind), func(m mapping) bool { return m.mark == Mark }) {
			return true
		}
	}
	return false
}

// lastApplied is the data that kubectl apply would write again.
func lastApplied(cm *corev1.ConfigMap) (map[string]string, bool) {
	text, ok := cm.Annotations[LastApplied]
	if !ok || len(text) > Limit {
		return nil, false
	}
	var object struct {
		Data map[string]string `json:"data"`
	}
	if json.Unmarshal([]byte(text), &object) != nil {
		return nil, false
	}
	// Keys that it does not have stay as they are.
	out := maps.Clone(cm.Data)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, object.Data)
	return out, true
}

// DecodeText reads bytes as text: UTF-8, or UTF-16 of either byte order, with or
// without a byte order mark, which is left out. The encoding is named as people know
// it. ok is false for any other encoding: which one it is can't be told.
func DecodeText(body []byte) (text, encoding string, ok bool) {
	big, wide, mark := false, false, 0
	switch {
	case len(body) >= 2 && body[0] == 0xff && body[1] == 0xfe:
		wide, mark = true, 2
	case len(body) >= 2 && body[0] == 0xfe && body[1] == 0xff:
		big, wide, mark = true, true, 2
	case len(body) >= 2 && len(body)%2 == 0:
		// What aws-auth holds is almost all ASCII: each other byte is zero then.
		zeros := [2]int{}
		for i, b := range body {
			if b == 0 {
				zeros[i%2]++
			}
		}
		switch half := len(body) / 2; {
		case zeros[1]*10 >= half*8 && zeros[0] == 0:
			wide = true
		case zeros[0]*10 >= half*8 && zeros[1] == 0:
			big, wide = true, true
		}
	}
	if !wide {
		text = strings.TrimPrefix(string(body), "\ufeff")
		return text, "UTF-8", utf8.ValidString(text) && !strings.Contains(text, "\x00")
	}
	encoding = "UTF-16LE"
	if big {
		encoding = "UTF-16BE"
	}
	body = body[mark:]
	if len(body)%2 != 0 {
		return "", encoding, false
	}
	units := make([]uint16, len(body)/2)
	for i := range units {
		a, b := uint16(body[2*i]), uint16(body[2*i+1])
		if big {
			a, b = b, a
		}
		units[i] = a | b<<8
	}
	text = string(utf16.Decode(units))
	return text, encoding, !strings.ContainsAny(text, "\x00\ufffd")
}

// spare are names of keys that keep what once was.
var spare = regexp.MustCompile(`(?i)bak|backup|old|orig|prev|copy|save|disabled|unused|example|sample|template|before`)

// unreadList is about a key with a list, or with a whole manifest, that the
// authenticator does not read. It reports whether it is one.
func (l *linter) unreadList(name string) bool {
	texts, manifest := hiddenLists(l.data[name])
	if len(texts) == 0 {
		return false
	}
	what := slices.Sorted(maps.Keys(texts))
	f := l.add(RuleUnreadList, name, fmt.Sprintf("the key %q holds the list of %s", name, what[0]))
	if manifest {
		f.Message = fmt.Sprintf("the key %q holds a whole manifest, with %s", name, strings.Join(what, ", "))
	}
	f.Write = "each list under " + strings.Join(what, ", ")
	fixed, _ := Mend(texts)
	lost := LostAccess(fixed, l.data)
	switch {
	case len(lost) == 0:
		f.Severity = Note
		f.Consequence = "the authenticator never reads it; whoever stands in it has the same access by the other keys"
		return true
	case spare.MatchString(name):
		f.Severity = Warning
		f.Consequence = "the authenticator never reads it; if it is no copy of what once was: " + DescribeLost(lost)
		return true
	}
	f.Consequence = "the authenticator never reads it: " + DescribeLost(lost)
	after := maps.Clone(l.data)
	delete(after, name)
	maps.Copy(after, texts)
	if l.vacant(texts) && mappedAsBefore(l.data, after, nil) {
		f.fix = &fix{kind: kindOf(what[0]), rename: name, also: texts}
	}
	return true
}

// hiddenLists are the texts of aws-auth's keys that stand in a text of another key,
// and whether a manifest is around them.
func hiddenLists(text string) (texts map[string]string, manifest bool) {
	if len(text) > Limit || isBlank(text) || !strings.Contains(strings.ToLower(text), "arn") || expands(text) {
		return nil, false
	}
	texts = map[string]string{}
	for _, kind := range []Kind{Role, User} {
		if list, err := readList(kind, text); err == nil && slices.ContainsFunc(list, func(m mapping) bool { return m.inForce() }) {
			texts[kind.Key()] = text
		}
	}
	if len(texts) == 1 {
		return texts, false
	}
	var object map[string]json.RawMessage
	body, err := yaml.YAMLToJSON([]byte(text))
	if len(texts) > 1 || err != nil || json.Unmarshal(body, &object) != nil {
		return nil, false
	}
	var data map[string]json.RawMessage
	if json.Unmarshal(object["data"], &data) == nil && data != nil {
		object = data
	}
	clear(texts)
	for _, k := range Keys {
		raw := object[k]
		if len(raw) == 0 {
			continue
		}
		var own string
		if json.Unmarshal(raw, &own) != nil {
			list, err := yaml.JSONToYAML(raw)
			if err != nil || raw[0] != '[' {
				continue
			}
			own = string(list)
		}
		texts[k] = own
	}
	if !hasEntries(texts) {
		return nil, false
	}
	return texts, true
}
