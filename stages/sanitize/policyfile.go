package sanitize

import (
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/messages/untrusted"
	"sallyport/stages"
)

// Of the classes that the specification has for these calls, its protocol exception is the ProtocolError of every other
// method here; the others have types of their own (spec: policy.md 7).
var (
	errPolicyArgument = exception.New(exception.ProtocolError, "the argument is letters, digits, '+', '-', '.' or '_'")
	errPolicyFile     = exception.New(exception.PolicyAdminInvalidFileNameException, "a policy file's name is 1 to 247 letters, digits, '_' or '-', without a suffix")
	errPolicyUpper    = exception.New(exception.PolicyAdminInvalidFileNameException, "upper case in the name of a policy file would make the whole policy unusable")
	errPolicyService  = exception.New(exception.ProtocolError, "a service is 1 to 255 letters, digits, '-', '.' or '_'")
	errPolicyToken    = exception.New(exception.ProtocolError, "a token is any, new, or sha256: and 64 hexadecimal digits")
	errPolicyTokenEnd = exception.New(exception.ProtocolError, "the payload is a token, a line feed and the content")
	errPolicyText     = exception.New(exception.ProtocolError, "the content is up to 65536 bytes of UTF-8 without NUL")
)

// argumentChars are what a call's argument may be made of at all.
var argumentChars = untrusted.NewCharset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-._")

// argument is a word of those characters: which are allowed is asked before what a name may be (spec: policy.md 7).
func argument[T any](parse func(string) (T, error), otherwise error) func(untrusted.Bytes) (T, error) {
	return func(u untrusted.Bytes) (T, error) {
		var none T
		s, err := u.Word(argumentChars, 1, u.Len())
		if err != nil {
			return none, errPolicyArgument
		}
		v, err := parse(s)
		if err != nil {
			return none, otherwise
		}
		return v, nil
	}
}

// PolicyFile names a file of the policy that may be there.
var PolicyFile = stages.Field[qube.PolicyFile]{
	Want: stages.Required, Doc: "1 to 247 of A-Z a-z 0-9 _ -",
	Read: argument(qube.ParsePolicyFile, errPolicyFile),
}

// NewPolicyFile names a .policy file to write. Upper case is only for those to look at and to remove, since the reference
// let them in (spec: policy.md 7, SAFER).
var NewPolicyFile = stages.Field[qube.PolicyFile]{
	Want: stages.Required, Doc: "1 to 247 of a-z 0-9 _ -",
	Read: func(u untrusted.Bytes) (qube.PolicyFile, error) {
		f, err := PolicyFile.Read(u)
		if err == nil && !f.IsLower() {
			return qube.PolicyFile{}, errPolicyUpper
		}
		return f, err
	},
}

// PolicyService is a service that rules may be for.
var PolicyService = stages.Field[string]{
	Want: stages.Required, Doc: "1 to 255 of A-Z a-z 0-9 - . _",
	Read: func(u untrusted.Bytes) (string, error) {
		s, err := u.Word(untrusted.NameChars, 1, 255)
		if err != nil {
			return "", errPolicyService
		}
		return s, nil
	},
}

// PolicyToken is a token alone, byte by byte.
var PolicyToken = stages.Field[qube.PolicyToken]{
	Want: stages.Required, Doc: "any, new, or sha256: and 64 hexadecimal digits",
	Read: func(u untrusted.Bytes) (qube.PolicyToken, error) {
		s, err := u.Printable(len("sha256:") + 64)
		if err != nil {
			return qube.PolicyToken{}, errPolicyToken
		}
		t, err := qube.ParsePolicyToken(s)
		if err != nil {
			return qube.PolicyToken{}, errPolicyToken
		}
		return t, nil
	},
}

// NewPolicy is what a file of the policy shall hold, and what it may hold until then.
type NewPolicy struct {
	Token qube.PolicyToken
	Text  qube.PolicyText
}

// PolicyReplacement is a token, a line feed and the content, which may be empty.
var PolicyReplacement = stages.Field[NewPolicy]{
	Want: stages.Required, Doc: "a token, a line feed, and UTF-8 text without NUL",
	Read: func(u untrusted.Bytes) (NewPolicy, error) {
		token, content, ok := u.Cut('\n')
		if !ok {
			return NewPolicy{}, errPolicyTokenEnd
		}
		t, err := PolicyToken.Read(token)
		if err != nil {
			return NewPolicy{}, err
		}
		s, err := content.UTF8(qube.MaxPolicyText)
		if err != nil {
			return NewPolicy{}, errPolicyText
		}
		text, err := qube.ParsePolicyText(s)
		if err != nil {
			return NewPolicy{}, errPolicyText
		}
		return NewPolicy{t, text}, nil
	},
}
