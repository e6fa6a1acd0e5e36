package cli

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prometheus/common/version"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/visible"
)

// The part of SARIF 2.1.0 that GitHub's code scanning reads
// (https://docs.github.com/en/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning).
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool struct {
			Driver sarifDriver `json:"driver"`
		} `json:"tool"`
		Results    []sarifResult `json:"results"`
		ColumnKind string        `json:"columnKind"`
	}
	sarifDriver struct {
		Name            string      `json:"name"`
		InformationURI  string      `json:"informationUri"`
		SemanticVersion string      `json:"semanticVersion,omitempty"`
		Rules           []sarifRule `json:"rules"`
	}
	sarifText struct {
		Text     string `json:"text"`
		Markdown string `json:"markdown,omitempty"`
	}
	sarifRule struct {
		ID                   awsauth.RuleID `json:"id"`
		ShortDescription     sarifText      `json:"shortDescription"`
		FullDescription      sarifText      `json:"fullDescription"`
		Help                 sarifText      `json:"help"`
		HelpURI              string         `json:"helpUri"`
		DefaultConfiguration struct {
			Level string `json:"level"`
		} `json:"defaultConfiguration"`
		Properties struct {
			Tags []string `json:"tags"`
		} `json:"properties"`
	}
	sarifResult struct {
		RuleID              awsauth.RuleID    `json:"ruleId"`
		RuleIndex           int               `json:"ruleIndex"`
		Level               string            `json:"level"`
		Message             sarifText         `json:"message"`
		Locations           []sarifLocation   `json:"locations"`
		RelatedLocations    []sarifLocation   `json:"relatedLocations,omitempty"`
		PartialFingerprints map[string]string `json:"partialFingerprints"`
		Properties          sarifProperties   `json:"properties"`
	}
	sarifLocation struct {
		PhysicalLocation struct {
			ArtifactLocation struct {
				URI string `json:"uri"`
			} `json:"artifactLocation"`
			Region sarifRegion `json:"region"`
		} `json:"physicalLocation"`
		LogicalLocations []sarifLogical `json:"logicalLocations,omitempty"`
		Message          *sarifText     `json:"message,omitempty"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
	}
	sarifLogical struct {
		FullyQualifiedName string `json:"fullyQualifiedName"`
		Kind               string `json:"kind"`
	}
	sarifProperties struct {
		Severity awsauth.Severity `json:"severity"`
		ARN      string           `json:"arn,omitempty"`
		Mended   string           `json:"mended,omitempty"`
	}
)

// sarifLevel is a severity in SARIF's words.
func sarifLevel(s awsauth.Severity) string {
	switch s {
	case awsauth.Fatal, awsauth.Error:
		return "error"
	case awsauth.Warning:
		return "warning"
	}
	return "note"
}

// sentence is a clause as a reader of SARIF shows it.
func sentence(clauses ...string) string {
	var out []string
	for _, c := range clauses {
		if c != "" {
			out = append(out, strings.ToUpper(c[:1])+c[1:]+".")
		}
	}
	return strings.Join(out, " ")
}

func printSARIF(w io.Writer, r *lintReport) error {
	log := sarifLog{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: make([]sarifRun, 1)}
	run := &log.Runs[0]
	run.ColumnKind = "unicodeCodePoints"
	run.Results = []sarifResult{}
	driver := &run.Tool.Driver
	driver.Name, driver.InformationURI = program, "https://github.com/rolecall/rolecall"
	driver.SemanticVersion = strings.TrimPrefix(version.Version, "v")
	rules := awsauth.Rules()
	for _, rule := range rules {
		write := "write " + rule.Write
		s := sarifRule{
			ID: rule.ID, HelpURI: ruleHelp(rule.ID),
			ShortDescription: sarifText{Text: sentence(rule.Title)},
			FullDescription:  sarifText{Text: sentence(rule.Title, rule.Consequence)},
			Help: sarifText{
				Text:     sentence(rule.Title, rule.Consequence, write),
				Markdown: fmt.Sprintf("%s\n\n**So:** %s.\n\n**Write** %s.", sentence(rule.Title), rule.Consequence, rule.Write),
			},
		}
		s.DefaultConfiguration.Level = sarifLevel(rule.Severity)
		s.Properties.Tags = []string{"aws-auth", "kubernetes"}
		driver.Rules = append(driver.Rules, s)
	}
	times := map[string]int{}
	for i := range r.Items {
		item := &r.Items[i]
		write := ""
		if item.Write != "" {
			write = "write " + item.Write
		}
		res := sarifResult{
			RuleID: item.Rule, Level: sarifLevel(item.Severity),
			RuleIndex:  slices.IndexFunc(rules, func(rule awsauth.Rule) bool { return rule.ID == item.Rule }),
			Message:    sarifText{Text: visible.Text(sentence(item.Message, item.Consequence, write))},
			Properties: sarifProperties{Severity: item.Severity, ARN: item.ARN, Mended: item.Mended},
		}
		res.Locations = []sarifLocation{sarifPlace(item.Source, item.FileLine, item.FileColumn, item.Key, item.Line, item.Column)}
		if item.OtherSource != "" {
			other := sarifPlace(item.OtherSource, item.OtherFileLine, 0, item.OtherKey, item.OtherLine, 0)
			other.Message = &sarifText{Text: "The other entry."}
			res.RelatedLocations = []sarifLocation{other}
		}
		// By what is found, not by its line: that moves with every edit above it.
		what := strings.Join([]string{item.Source, item.Key, string(item.Rule), cmp.Or(item.ARN, item.Message)}, "\x00")
		times[what]++
		sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d", what, times[what]))
		res.PartialFingerprints = map[string]string{"rolecall/v1": hex.EncodeToString(sum[:16])}
		run.Results = append(run.Results, res)
	}
	body, err := json.MarshalIndent(log, "", "  ")
	if err != nil {
		return fmt.Errorf("encode as sarif: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s\n", visible.JSON(body))
	return err
}

// sarifPlace is a place in a file, or in the text of a key of the live aws-auth.
func sarifPlace(source string, fileLine, fileColumn int, key string, line, column int) sarifLocation {
	var at sarifLocation
	at.PhysicalLocation.ArtifactLocation.URI = (&url.URL{Path: strings.TrimPrefix(filepath.ToSlash(source), "./")}).String()
	if fileLine > 0 {
		line, column = fileLine, fileColumn
	}
	at.PhysicalLocation.Region = sarifRegion{StartLine: max(line, 1), StartColumn: column}
	if key != "" {
		at.LogicalLocations = []sarifLogical{{FullyQualifiedName: "data." + key, Kind: "member"}}
	}
	return at
}
