package properties

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"sallyport/messages/qube"
)

// specified is testdata/spec/properties.yaml.
type specified struct {
	Classes     map[string][]struct{ Name, Definition, Type string }
	Definitions map[string]struct {
		Type      string
		WriteOnce bool   `yaml:"write_once"`
		LoadStage Stage  `yaml:"load_stage"`
		Copied    bool   `yaml:"copied_to_disposable"`
		AllowNone *bool  `yaml:"allow_none"`
		VMClass   string `yaml:"vm_class"`
		Computed  bool
	}
}

func specification(t *testing.T) (s specified) {
	data, err := os.ReadFile("../../testdata/spec/properties.yaml")
	require.NoError(t, err)
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	require.NoError(t, d.Decode(&s))
	return s
}

// TestDeclarationsAreTheSpecifications: every definition is one literal, and every class has its properties in the order
// of lists.
func TestDeclarationsAreTheSpecifications(t *testing.T) {
	spec := specification(t)
	declares := map[*Property]string{}
	for class, listed := range spec.Classes {
		ours := Of(qube.Class(class))
		if class == "app" {
			ours = OfTheSystem()
		}
		require.Len(t, ours, len(listed), class)
		for i, want := range listed {
			p, d := ours[i], spec.Definitions[want.Definition]
			require.Equal(t, want.Name, p.Name.Shown(), "%s %d", class, i)
			if known, seen := declares[p]; seen {
				assert.Equal(t, known, want.Definition, "%s.%s", class, want.Name)
			}
			declares[p] = want.Definition
			assert.Equal(t, want.Type, p.Type.Wire, want.Definition)
			assert.Equal(t, d.LoadStage, p.Load, want.Definition)
			assert.Equal(t, d.WriteOnce, p.set == once, want.Definition)
			assert.Equal(t, d.Computed, p.set == computed, want.Definition)
			assert.Equal(t, d.Copied, p.Copied(), want.Definition)
			asks := func(wants string) bool {
				return slices.ContainsFunc(p.rules, func(r rule) bool { return r.wants == wants })
			}
			assert.Equal(t, d.AllowNone != nil && !*d.AllowNone, asks(notNone.wants), want.Definition)
			switch d.VMClass {
			case "":
				assert.NotSame(t, vm, p.Type, want.Definition)
			case "TemplateVM":
				assert.True(t, asks(aTemplate.wants), want.Definition)
			case "local VM":
				assert.True(t, asks(localQube.wants) || asks(ofDisposables.wants), want.Definition)
			}
			assert.True(t, strings.HasSuffix(p.Help, ".") && !strings.Contains(p.Help, "\n"), "%s: one sentence", want.Definition)
		}
	}
	assert.Len(t, declares, len(spec.Definitions))
	assert.Len(t, spec.Definitions, 90)
}

var update = flag.Bool("update", false, "write the golden file anew")

// TestTable shows a change of a declaration to whoever reviews it, and everybody what properties there are.
func TestTable(t *testing.T) {
	const golden = "testdata/properties.md"
	var b strings.Builder
	b.WriteString("# Properties\n\nMade from the declarations: `go test ./stages/properties -run Table -update`\n")
	classes := append(slices.Clone(qube.Classes), systemClass)
	done := map[*Property]bool{}
	for _, c := range classes {
		title := "The system"
		if c != systemClass {
			title = c.Shown()
		}
		fmt.Fprintf(&b, "\n## %s\n\n", title)
		var known []string
		for _, p := range all.ordered[c] {
			if done[p] {
				known = append(known, p.Name.Shown())
			}
		}
		if len(known) > 0 {
			fmt.Fprintf(&b, "As above: %s.\n\n", strings.Join(known, ", "))
		}
		b.WriteString("| property | type | a value is | can be set | what it is for |\n|---|---|---|---|---|\n")
		for _, p := range all.ordered[c] {
			if !done[p] {
				fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", p.Name.Shown(), p.Type.Wire, wanted(p), settings[p.set], p.Help)
			}
			done[p] = true
		}
	}
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	assert.Equal(t, string(want), b.String(), "if that is wanted: go test ./stages/properties -run Table -update")
}

var settings = map[setting]string{free: "yes", bound: "yes, not reset", once: "once", computed: "no"}

// wanted is all that a value has to be.
func wanted(p *Property) string {
	wants := []string{p.Type.Wants}
	if p.Settable() {
		for _, r := range p.rules {
			wants = append(wants, r.wants)
		}
	}
	return strings.ReplaceAll(strings.Join(wants, "; "), "|", `\|`)
}
