package qube

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// FirewallRule is one rule of a qube's firewall. Rules are equal if their canonical lines are.
type FirewallRule struct {
	line   string
	expire int64 // seconds since 1970; 0: never
}

// Shown is the canonical line (spec: firewall.md 4).
func (r FirewallRule) Shown() string { return r.line }

// Expired reports whether the rule is no longer in force.
func (r FirewallRule) Expired(now time.Time) bool { return r.expire != 0 && r.expire < now.Unix() }

// MaxFirewallRule is the longest line of a rule, in bytes. The reference sets no limit; this one is ours.
const MaxFirewallRule = 65536

// lastExpire is the last second of the year 9999.
const lastExpire = 253402300799

// The options of a rule, in the order of the canonical line. Of the destination a rule has one at most.
var ruleOptions = []struct {
	key   string
	canon func(string) (string, bool)
}{
	{"action", oneOf("accept", "drop")},
	{"expire", canonExpire},
	{"dst4", nil},
	{"dst6", nil},
	{"dsthost", nil},
	{"proto", oneOf("tcp", "udp", "icmp")},
	{"specialtarget", oneOf("dns")},
	{"dstports", canonPorts},
	{"icmptype", func(s string) (string, bool) { return canonNumber(s, 3, 255) }},
}

// ParseFirewallRule reads a line and gives it its canonical form (spec: firewall.md 3). Where the reference takes what
// cannot be meant, such as an empty host name, this is stricter (SAFER there).
func ParseFirewallRule(line string) (FirewallRule, error) {
	if len(line) > MaxFirewallRule {
		return FirewallRule{}, ErrGrammar
	}
	text, comment, _ := strings.Cut(line, "comment=")
	if !all(comment, isCommentByte) {
		return FirewallRule{}, ErrGrammar
	}
	options, ok := readOptions(strings.TrimSpace(text))
	tcpOrUDP := options["proto"] == "tcp" || options["proto"] == "udp"
	if !ok || options["action"] == "" ||
		options["dstports"] != "" && !tcpOrUDP || options["icmptype"] != "" && options["proto"] != "icmp" {
		return FirewallRule{}, ErrGrammar
	}
	var r FirewallRule
	var parts []string
	for _, o := range ruleOptions {
		if value, given := options[o.key]; given {
			parts = append(parts, o.key+"="+value)
		}
	}
	if comment != "" {
		parts = append(parts, "comment="+comment)
	}
	r.line = strings.Join(parts, " ")
	r.expire, _ = strconv.ParseInt(options["expire"], 10, 64)
	return r, nil
}

// readOptions gives the canonical value of each option by its canonical key.
func readOptions(text string) (map[string]string, bool) {
	options := map[string]string{}
	for option := range strings.SplitSeq(text, " ") {
		key, value, _ := strings.Cut(option, "=")
		var ok bool
		switch key {
		case "dsthost", "dst4", "dst6", "dstname": // synonyms: the value says which it is
			for _, kind := range []string{"dst4", "dst6", "dsthost"} {
				if _, twice := options[kind]; twice {
					return nil, false
				}
			}
			key, value, ok = canonHost(value)
		default:
			for _, o := range ruleOptions {
				if o.key == key && o.canon != nil {
					value, ok = o.canon(value)
				}
			}
		}
		if _, twice := options[key]; twice || !ok {
			return nil, false
		}
		options[key] = value
	}
	return options, true
}

func oneOf(words ...string) func(string) (string, bool) {
	return func(s string) (string, bool) {
		for _, w := range words {
			if s == w {
				return s, true
			}
		}
		return "", false
	}
}

// canonNumber reads up to so many digits of a number that is not above most.
func canonNumber(s string, digits int, most uint64) (string, bool) {
	if !word(s, digits, isDigit) {
		return "", false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return strconv.FormatUint(n, 10), err == nil && n <= most
}

func canonExpire(s string) (string, bool) { return canonNumber(s, 64, lastExpire) }

// canonPorts reads N or N-M, and gives a range.
func canonPorts(s string) (string, bool) {
	from, to, ranged := strings.Cut(s, "-")
	if !ranged {
		to = from
	}
	from, ok1 := canonNumber(from, 64, 65535)
	to, ok2 := canonNumber(to, 64, 65535)
	first, _ := strconv.Atoi(from)
	last, _ := strconv.Atoi(to)
	return from + "-" + to, ok1 && ok2 && first <= last
}

// canonHost gives the kind of a destination, and the value with a prefix if it is an address.
func canonHost(s string) (kind, value string, ok bool) {
	host, prefix, hasPrefix := strings.Cut(s, "/")
	if addr, err := netip.ParseAddr(host); err == nil && addr.Zone() == "" {
		kind, most := "dst4", 32
		if addr.Is6() {
			kind, most = "dst6", 128
		}
		if !hasPrefix {
			prefix = strconv.Itoa(most)
		}
		prefix, ok = canonNumber(prefix, 64, uint64(most))
		return kind, host + "/" + prefix, ok
	}
	if hasPrefix || host == "" || all(host, func(b byte) bool { return isDigit(b) || b == '.' }) || !all(host, isHostByte) {
		return "", "", false
	}
	return "dsthost", host, true
}

func isHostByte(b byte) bool {
	return 'a' <= b && b <= 'z' || isDigit(b) || b == '-' || b == '.' || b == '_'
}

func isCommentByte(b byte) bool {
	return isLetter(b) || isDigit(b) || strings.IndexByte(" :;,./-_[]", b) >= 0
}
