package migrate

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// FromFile makes a config of a file of any format that one of the importers reads,
// or that [Read] reads, which it tells by the text. The error is a *[config.Error];
// where the format is not known it lists those that are.
func FromFile(file string, data []byte) (*Result, error) {
	if len(data) <= maxSize && isEnv(data) {
		return FromUserMapper(file, data, nil)
	}
	if isTerraform(file, data) {
		return FromTerraform(file, data)
	}
	d := newDraft("aws-auth", file)
	docs := flatten(d.documents(data))
	switch {
	case slices.ContainsFunc(docs, isWrapper):
		return FromSSOWrapper(file, data)
	case slices.ContainsFunc(docs, isMapper):
		return FromUserMapper(file, data, nil)
	case slices.ContainsFunc(docs, isClusterConfig):
		return FromEksctl(file, data)
	case len(docs) == 0 && len(d.problems) == 0:
		d.failAt(1, "the file is empty: %s", importFormats())
	}
	read := false
	for _, doc := range docs {
		switch {
		case isAWSAuthText(doc):
			d.items = append(d.items, d.awsAuth(doc)...)
			read = true
		case d.object(doc):
			read = true
		case isOwn(doc):
			d.problem(doc, "it is a config of rolecall's already: rolecall validate FILE checks it")
		case len(docs) > 1 && !doc.field("kind").is():
			d.note(doc, "the document is not read: it has no kind and is of no format that rolecall knows")
		case len(docs) > 1:
			d.note(doc, "the document is not read: %s is no kind that rolecall knows", describe(doc))
		default:
			d.unknown(doc, importFormats())
		}
	}
	if !read && len(docs) > 1 && len(d.problems) == 0 {
		d.failAt(1, "no document is of a known format: %s", importFormats())
	}
	return d.result()
}

// importFormats says what can be imported.
func importFormats() string {
	return formats() + "; or what Terraform, aws-iam-authenticator-sso-wrapper and iam-eks-user-mapper are set up with"
}

// isTerraform reports whether a text is Terraform's: by the file's name, as the
// output of terraform show -json, or as HCL that is no YAML of a known format.
func isTerraform(file string, data []byte) bool {
	name := filepath.Base(file)
	for _, end := range []string{".tf", ".tfvars", ".tf.json", ".tfvars.json"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	if len(data) > maxSize {
		return false
	}
	r := new(reader)
	docs := r.documents(data)
	if json.Valid(data) {
		return len(docs) == 1 && slices.ContainsFunc(docs[0].fields(), func(f field) bool {
			_, is := inputs[f.name]
			return is || slices.Contains([]string{"format_version", "terraform_version", "module", "resource", "variable"}, f.name)
		})
	}
	if len(r.problems) == 0 && slices.ContainsFunc(docs, func(doc value) bool {
		return doc.field("kind").is() || formatOf(doc) != nil || isWrapper(doc) || isMapper(doc)
	}) {
		return false
	}
	parsed, diags := hclsyntax.ParseConfig(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), file, hcl.InitialPos)
	if diags.HasErrors() {
		return false
	}
	body, ok := parsed.Body.(*hclsyntax.Body)
	return ok && len(body.Attributes)+len(body.Blocks) > 0
}

// isWrapper reports whether a document is of aws-iam-authenticator-sso-wrapper.
func isWrapper(doc value) bool {
	if doc.field("sourceConfigmap").is() || doc.field("deployment").field("applicationArguments").is() {
		return true
	}
	return isAWSAuthText(doc) && slices.ContainsFunc(append(doc.field("data").fields(), doc.fields()...), func(f field) bool {
		_, ok := kindOf(f.name)
		return ok && strings.Contains(strings.ToLower(f.scalar()), "permissionset:")
	})
}

// isMapper reports whether a document has iam-eks-user-mapper's settings: the values
// of its chart, or a workload with its variables.
func isMapper(doc value) bool {
	if doc.field("kind").scalar() == "HelmRelease" {
		doc = doc.field("spec").field("values")
	}
	if slices.ContainsFunc(doc.fields(), func(f field) bool { return slices.Contains(mapperSections, f.name) }) {
		return true
	}
	for _, e := range doc.container("env").items() {
		if name := e.field("name").scalar(); slices.Contains(UserMapperSettings(), name) && !strings.HasPrefix(name, "AWS_") && name != "VERBOSE" {
			return true
		}
	}
	return false
}
