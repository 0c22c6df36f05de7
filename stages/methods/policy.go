package methods

import (
	"fmt"
	"strings"

	"sallyport/stages"
)

// DefaultPolicy is the stock policy for the methods of All: the files of a policy directory and what they hold. Each
// method is one line that includes the file of its scope and access; those files are the operator's to fill, and are
// empty, so that everything is denied (spec: policy.md 6). The directory config/policy.d holds it; a test keeps it in step.
func DefaultPolicy() map[string]string {
	var admin, files strings.Builder
	admin.WriteString(`# The methods of the Admin API, each with the include file of its scope and access. Made from the declarations of the
# methods; do not edit: put rules that end in "target=dom0" into the files under include/.

`)
	files.WriteString(`# The methods about the files of the policy itself, each with the include file of its access. Whoever may write those may
# do everything. Made from the declarations of the methods; do not edit: put rules that end in "target=dom0" into the files
# under include/.

`)
	for _, e := range All() {
		switch {
		case e.Socket != stages.Admin:
		case strings.HasPrefix(e.Name, "policy."):
			fmt.Fprintf(&files, "!include-service %-22s * include/%s\n", e.Name, include(e))
		default:
			fmt.Fprintf(&admin, "!include-service %-60s * include/%s\n", e.Name, include(e))
		}
	}
	return map[string]string{
		"90-admin-default.policy":        admin.String(),
		"90-admin-policy-default.policy": files.String(),
		"91-admin-default-deny.policy": `# Tools ask for all properties first and fall back to asking for each: a refusal is nothing to tell anybody of.

admin.vm.property.GetAll * @anyvm @anyvm   deny notify=no
admin.vm.property.GetAll * @anyvm @adminvm deny notify=no
admin.property.GetAll    * @anyvm @anyvm   deny notify=no
admin.property.GetAll    * @anyvm @adminvm deny notify=no
`,
		"include/admin-local-ro": `# Who may read what concerns one qube. Lines such as: mgmt @tag:created-by-mgmt allow target=dom0

!include include/admin-local-rwx
`,
		"include/admin-global-ro": `# Who may read what concerns the system. Lines such as: mgmt @adminvm allow target=dom0

!include include/admin-global-rwx
`,
		"include/admin-policy-ro": `# Who may read the files of the policy. Lines such as: mgmt @adminvm allow target=dom0

!include include/admin-policy-rwx
`,
		"include/admin-policy-rwx": "# Who may read and change the files of the policy, and so everything. Lines such as: mgmt @adminvm allow target=dom0\n",
		"include/admin-local-rwx":  "# Who may read, change and run what concerns one qube. Lines such as: mgmt @tag:created-by-mgmt allow target=dom0\n",
		"include/admin-global-rwx": "# Who may read, change and run what concerns the system. Lines such as: mgmt @adminvm allow target=dom0\n",
	}
}

// include is the include file of a method's class.
func include(e stages.Entry) string {
	scope, kind := "local", "ro"
	switch {
	case strings.HasPrefix(e.Name, "policy."):
		scope = "policy"
	case e.Scope == stages.Global:
		scope = "global"
	}
	if e.Access&(stages.Write|stages.Execute) != 0 {
		kind = "rwx"
	}
	return "admin-" + scope + "-" + kind
}
