package config

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// TestHostileFiles holds that what somebody puts into the ConfigMap to hurt is
// refused with a sentence and in little memory; one that never ends would end the
// test.
func TestHostileFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("reads large files for seconds: not with -short")
	}
	const room = 512 << 20 // bytes allocated in all; measured: 150 MiB
	laughs := "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n"
	for i := 1; i < 12; i++ {
		laughs += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), ", "))
	}
	for name, tc := range map[string]struct{ text, want string }{
		"a byte too long":       {head + "#" + strings.Repeat("x", maxSize), "a ConfigMap holds at most"},
		"100 MiB":               {head + "#" + strings.Repeat("x", 100<<20), "a ConfigMap holds at most"},
		"billion laughs":        {head + laughs, "write fewer of them"},
		"one long text often":   {head + "adopt: [&u " + strings.Repeat("x", 300<<10) + strings.Repeat(", *u", 100_000) + "]\n", "write at most 1024"},
		"alias of itself":       {head + "adopt: &a [*a]\n", "stands inside what it names"},
		"deep brackets":         {head + "adopt: " + strings.Repeat("[", 1_000_000), "brackets stand in brackets"},
		"deep braces":           {head + "adopt: " + strings.Repeat("{a: ", 250_000), "brackets stand in brackets"},
		"deep dashes":           {strings.Repeat("- ", 500_000), "deeper than any value"},
		"questions":             {strings.Repeat("? ", 500_000), "deeper than any value"},
		"deep and closed":       {head + "adopt: " + strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000), "found a list where a text belongs"},
		"unknown keys":          {head + manyKeys(60_000), "the key is unknown"},
		"one key 100,000 times": {head + strings.Repeat("kind: Config\n", 70_000), "the key is given twice"},
		"wrong items":           {head + "adopt: [" + strings.Repeat("1,", 400_000) + "]\n", "found the number 1 where a text belongs"},
		"many documents":        {head + strings.Repeat("---\n", 250_000), "a second document begins here"},
		"quotes":                {strings.Repeat("'", 1_000_000), ""},
		"a long number":         {head + "refreshInterval: " + strings.Repeat("9", 1_000_000), ""},
		"a long line of blanks": {head + strings.Repeat(" ", 1_000_000) + "x", ""},
		"tags":                  {strings.Repeat("%TAG ! tag:x\n", 80_000), ""},
	} {
		t.Run(name, func(t *testing.T) {
			writeFiles(t, map[string]string{mainKey: tc.text})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Load(".")
			runtime.ReadMemStats(&after)
			if bytes := after.TotalAlloc - before.TotalAlloc; bytes > room {
				t.Errorf("it took %d MiB", bytes>>20)
			}
			var list *Error
			if !errors.As(err, &list) || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %.300v, want %q", err, tc.want)
			}
			if len(err.Error()) > 4*maxText || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("no sentence: %.200q", err)
			}
		})
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "key%d: x\n", i)
	}
	return b.String()
}
