package inventory

import (
	"net/netip"
	"slices"
	"strconv"

	"sallyport/messages/qube"
)

// What an inventory file may set: the properties that can be set at all, with their types and the classes that have them
// (spec: properties.yaml).
type property struct {
	kind    kind
	classes []qube.Class
}

type kind uint8

const (
	text kind = iota
	number
	flag
	reference // to a qube, by name; empty is None
	positive
	kernel // of those that the file offers; empty is none
	pool   // of the file, or built in
	mode   // how a qube is virtualized
	ipv4
	ipv6
)

var (
	local      = []qube.Class{qube.AppVM, qube.TemplateVM, qube.StandaloneVM, qube.DispVM}
	remote     = []qube.Class{qube.RemoteVM}
	everywhere = slices.Concat(local, remote)
)

var properties = map[string]property{
	"appvm_default_bootmode": {text, []qube.Class{qube.TemplateVM}},
	"audiovm":                {reference, local},
	"auto_cleanup":           {flag, []qube.Class{qube.DispVM}},
	"autostart":              {flag, local},
	"backup_timestamp":       {number, local},
	"bootmode":               {text, local},
	"debug":                  {flag, local},
	"default_dispvm":         {reference, local},
	"default_user":           {text, local},
	"devices_denied":         {text, local},
	"guivm":                  {reference, local},
	"include_in_backups":     {flag, everywhere},
	"installed_by_rpm":       {flag, local},
	"ip":                     {ipv4, local},
	"ip6":                    {ipv6, local},
	"kernel":                 {kernel, local},
	"kernelopts":             {text, local},
	"keyboard_layout":        {text, local},
	"mac":                    {text, local},
	"management_dispvm":      {reference, local},
	"maxmem":                 {number, local},
	"memory":                 {positive, local},
	"netvm":                  {reference, local},
	"provides_network":       {flag, local},
	"qrexec_timeout":         {number, local},
	"relayvm":                {reference, remote},
	"remote_name":            {text, remote},
	"shutdown_timeout":       {number, local},
	"stubdom_mem":            {number, local},
	"template":               {reference, []qube.Class{qube.AppVM, qube.DispVM}},
	"template_for_dispvms":   {flag, []qube.Class{qube.AppVM, qube.StandaloneVM}},
	"transport_rpc":          {text, remote},
	"vcpus":                  {positive, local},
	"virt_mode":              {mode, local},
}

var globals = map[string]kind{
	"check_updates_vm":         flag,
	"clockvm":                  reference,
	"default_audiovm":          reference,
	"default_dispvm":           reference,
	"default_guivm":            reference,
	"default_kernel":           kernel,
	"default_netvm":            reference,
	"default_pool":             pool,
	"default_pool_kernel":      pool,
	"default_pool_private":     pool,
	"default_pool_root":        pool,
	"default_pool_volatile":    pool,
	"default_qrexec_timeout":   number,
	"default_shutdown_timeout": number,
	"default_template":         reference,
	"management_dispvm":        reference,
	"stats_interval":           number,
	"updatevm":                 reference,
}

// wants says what a value of that kind is, for an error.
func (k kind) wants() string {
	return [...]string{
		text: "printable text", number: "a whole number", flag: "true or false", reference: `a qube's name, or ""`,
		positive: "a whole number above 0", kernel: `a kernel of this file, or ""`, pool: "a pool of this file, or a built-in one",
		mode: "one of pvh, hvm, pv", ipv4: "an IPv4 address", ipv6: "an IPv6 address",
	}[k]
}

// parse checks a value as the file has it, and gives it as the wire has it: True and False, and plain decimal numbers.
func (k kind) parse(s string) (qube.PropertyValue, error) {
	switch k {
	case number, positive:
		n, err := strconv.ParseUint(s, 10, 63)
		if err != nil || k == positive && n == 0 {
			return qube.PropertyValue{}, qube.ErrGrammar
		}
		s = strconv.FormatUint(n, 10)
	case flag:
		switch s {
		case "true", "True":
			s = "True"
		case "false", "False":
			s = "False"
		default:
			return qube.PropertyValue{}, qube.ErrGrammar
		}
	case mode:
		if s != "pvh" && s != "hvm" && s != "pv" {
			return qube.PropertyValue{}, qube.ErrGrammar
		}
	case ipv4, ipv6:
		if a, err := netip.ParseAddr(s); err != nil || a.Is4() != (k == ipv4) || a.Zone() != "" {
			return qube.PropertyValue{}, qube.ErrGrammar
		}
	case reference:
		if s != "" {
			if _, err := qube.ParseName(s); err != nil {
				return qube.PropertyValue{}, err
			}
		}
	}
	return qube.ParsePropertyValue(s)
}
