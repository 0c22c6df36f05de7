// Package telemetry is the schema of the daemon's log and what writes it: the interface on which dashboards stand. Field
// names follow the OpenTelemetry log data model and semantic conventions where they exist; ours begin with "sallyport.".
// Nothing a client sent before a grammar accepted it gets here: callers hand over lengths and fingerprints.
package telemetry

// SchemaVersion changes when a field changes its name or meaning, or an event is taken away.
const SchemaVersion = 1

// Event is a name from a closed list: what a line is about.
type Event string

// The events.
const (
	Ready             Event = "ready"
	Stopping          Event = "stopping"
	Stopped           Event = "stopped"
	InventoryLoaded   Event = "inventory.loaded"
	InventoryIgnored  Event = "inventory.ignored"
	StoreFailed       Event = "store.failed"
	RequestDone       Event = "request.done"
	RequestDenied     Event = "request.denied"
	ConnectionRefused Event = "connection.refused"
	ActorStarted      Event = "actor.started"
	ActorStopped      Event = "actor.stopped"
	ActorCrashed      Event = "actor.crashed"
	ActorRestarted    Event = "actor.restarted"
	Escalated         Event = "supervisor.escalated"
	Incident          Event = "incident"
	Shed              Event = "shed"
	StreamCut         Event = "stream.cut"
	CommitGroup       Event = "commit.group"
	PolicyReloaded    Event = "policy.reloaded"
	PolicyRefused     Event = "policy.refused"
	PolicyLegacy      Event = "policy.legacy"
	HealthChanged     Event = "health.changed"
	LogDropped        Event = "log.dropped"
	LibraryMessage    Event = "library.message"
)

// Key is a field's name.
type Key = string

// The fields that every line has.
const (
	KeyTime     Key = "timestamp"
	KeySeverity Key = "severity_text"
	KeyEvent    Key = "event.name"
)

// The fields of some.
const (
	KeyService      Key = "service.name"
	KeyVersion      Key = "service.version"
	KeySchema       Key = "sallyport.schema"
	KeyMethod       Key = "rpc.method"
	KeyErrorType    Key = "error.type"
	KeyMessage      Key = "exception.message"
	KeyStack        Key = "exception.stacktrace"
	KeyPanicType    Key = "exception.type"
	KeySocket       Key = "sallyport.socket"
	KeySource       Key = "sallyport.source"
	KeyDest         Key = "sallyport.dest"
	KeyDestPrint    Key = "sallyport.dest.fingerprint"
	KeyDestLen      Key = "sallyport.dest.length"
	KeyArgPrint     Key = "sallyport.arg.fingerprint"
	KeyArgLen       Key = "sallyport.arg.length"
	KeyPayloadPrint Key = "sallyport.payload.fingerprint"
	KeyPayloadLen   Key = "sallyport.payload.length"
	KeyPeerUID      Key = "sallyport.peer.uid"
	KeyPeerName     Key = "sallyport.peer.name"
	KeyPeerAddress  Key = "network.peer.address"
	KeyLocalAddress Key = "network.local.address"
	KeyOutcome      Key = "sallyport.outcome"
	KeyIncident     Key = "sallyport.incident"
	KeyCrashPrint   Key = "sallyport.crash.fingerprint"
	KeyActor        Key = "sallyport.actor"
	KeyActorKind    Key = "sallyport.actor.kind"
	KeyParent       Key = "sallyport.actor.parent"
	KeyHandling     Key = "sallyport.handling"
	KeyStreak       Key = "sallyport.crashes_without_success"
	KeyRetry        Key = "sallyport.retry_in_us"
	KeyReason       Key = "sallyport.reason"
	KeyCount        Key = "sallyport.count"
	KeyRevision     Key = "sallyport.revision"
	KeyHealthy      Key = "sallyport.healthy"
	KeyPath         Key = "sallyport.path"
	KeyReadTime     Key = "sallyport.stage.read_us"
	KeySanitizeTime Key = "sallyport.stage.sanitize_us"
	KeyPermitTime   Key = "sallyport.stage.permission_us"
	KeyActionTime   Key = "sallyport.stage.action_us"
	KeyReplyTime    Key = "sallyport.stage.reply_us"
	KeyTotalTime    Key = "sallyport.duration_us"
	KeyCommitTime   Key = "sallyport.commit_us"
	KeyEvents       Key = "sallyport.events"
	KeyReplyLen     Key = "sallyport.reply.length"
	KeyPlace        Key = "sallyport.place"
	KeyGeneration   Key = "sallyport.policy.generation"
	KeyLoadTime     Key = "sallyport.policy.load_us"
)

// FieldDoc describes one field, for the generated table.
type FieldDoc struct {
	Key  Key
	Type string // text, number, flag
	Doc  string
}

// Fields are all of them. A test keeps this list and the lines that are written in step.
var Fields = []FieldDoc{
	{KeyTime, "text", "when, RFC 3339 with nanoseconds, UTC"},
	{KeySeverity, "text", "DEBUG, INFO, WARN or ERROR"},
	{KeyEvent, "text", "what the line is about: a name from the list of events"},
	{KeyService, "text", "sallyportd"},
	{KeyVersion, "text", "the daemon's version"},
	{KeySchema, "number", "the version of this schema"},
	{KeyMethod, "text", "the method, from the catalogue; absent if the call named none"},
	{KeyErrorType, "text", "the type of the exception that the caller got"},
	{KeyMessage, "text", "what failed, in our own words"},
	{KeyStack, "text", "functions, files and lines, innermost first"},
	{KeyPanicType, "text", "the Go type of what a goroutine panicked with"},
	{KeySocket, "text", "admin, internal or misc; tls for clients on other machines"},
	{KeySource, "text", "the qube that called, if it exists and may be claimed"},
	{KeyDest, "text", "the qube that the call was about, once permitted"},
	{KeyDestPrint, "text", "instead of a destination that was not permitted: a keyed fingerprint of what was sent"},
	{KeyDestLen, "number", "its length in bytes"},
	{KeyArgPrint, "text", "keyed fingerprint of the argument as sent"},
	{KeyArgLen, "number", "its length in bytes"},
	{KeyPayloadPrint, "text", "keyed fingerprint of the payload as sent"},
	{KeyPayloadLen, "number", "its length in bytes"},
	{KeyPeerUID, "number", "the user id of the process at the other end, from the kernel; absent where a certificate says who calls"},
	{KeyPeerName, "text", "the name, of the certificate's subject alternative names, by which the client is known; ? if none can be shown"},
	{KeyPeerAddress, "text", "where the client connects from, from the kernel"},
	{KeyLocalAddress, "text", "where the daemon listens for clients on other machines; absent if it does not"},
	{KeyOutcome, "text", "ok, exception, denied, malformed, incident, shed or gone"},
	{KeyIncident, "text", "joins the caller's exception and this line"},
	{KeyCrashPrint, "text", "the same for crashes with the same stack"},
	{KeyActor, "text", "the actor's name"},
	{KeyActorKind, "text", "listener, bridge, poller, request, sanitizer, permission, action, ledger, qubes or qube"},
	{KeyParent, "text", "the name of the actor that supervises it; empty for the daemon itself"},
	{KeyHandling, "text", "the Go type of the message that was being handled"},
	{KeyStreak, "number", "crashes of the actor with no success between them"},
	{KeyRetry, "number", "when the actor is tried again, in microseconds"},
	{KeyReason, "text", "why, in our own words"},
	{KeyCount, "number", "how many"},
	{KeyRevision, "number", "the inventory's revision"},
	{KeyHealthy, "flag", "whether the daemon is healthy as a whole"},
	{KeyPath, "text", "a file or socket of ours"},
	{KeyReadTime, "number", "microseconds from the accepted connection to the whole request"},
	{KeySanitizeTime, "number", "microseconds at the first door, queue included"},
	{KeyPermitTime, "number", "microseconds at the second door, queue included"},
	{KeyActionTime, "number", "microseconds at the third door, queue and commit included"},
	{KeyReplyTime, "number", "microseconds from the answer to its last byte"},
	{KeyTotalTime, "number", "microseconds from the accepted connection to the last byte of the reply"},
	{KeyCommitTime, "number", "microseconds from the first change of a group to its fsync"},
	{KeyEvents, "number", "events that a stream has sent, the first included; absent where there was none"},
	{KeyReplyLen, "number", "bytes of the reply, frame included"},
	{KeyPlace, "text", "FILE, FILE:LINE or FILE:LINE:COLUMN of an operator's file"},
	{KeyGeneration, "number", "how many policies there have been: 0 is none, with which every source but dom0 is denied"},
	{KeyLoadTime, "number", "microseconds from the first file that was read to the policy in force"},
}

// Events are all of them, with what they tell.
var Events = []struct {
	Event Event
	Doc   string
}{
	{Ready, "the daemon accepts calls"},
	{Stopping, "the daemon accepts no more calls and finishes those it has"},
	{Stopped, "the last line"},
	{InventoryLoaded, "the state was read, or filled from an inventory file"},
	{InventoryIgnored, "an inventory file was given, but there is state already"},
	{StoreFailed, "the store could not write, or stopped"},
	{RequestDone, "a call was answered; one line for each"},
	{RequestDenied, "a call was refused; one line for each, instead of request.done"},
	{ConnectionRefused, "a client over TLS did not prove who it is, and was not heard"},
	{ActorStarted, "an actor began; those of connections are told of by request.done"},
	{ActorStopped, "an actor ended; those of connections are told of by request.done"},
	{ActorCrashed, "an actor panicked while it handled a message; its caller got the incident"},
	{ActorRestarted, "a crashed actor goes on"},
	{Escalated, "an actor makes no progress: its queue is refused until it is tried again"},
	{Incident, "something failed that is not the caller's doing and no crash"},
	{Shed, "work was refused because a limit was reached"},
	{StreamCut, "a subscriber that fell behind by more than its backlog was cut off; its request.done follows"},
	{CommitGroup, "a group of changes is on disk; at debug level"},
	{PolicyReloaded, "a policy was loaded and is in force; the count is of its rules"},
	{PolicyRefused, "the policy's files do not load, and what was in force stays so: the place of the first error, how many there are, and all of them in the message"},
	{PolicyLegacy, "the policy has !compat-4.0, which is to be replaced"},
	{HealthChanged, "the daemon became healthy, or ceased to be"},
	{LogDropped, "lines were left out: the log is written too slowly, or has reached its limit of lines a second; always JSON"},
	{LibraryMessage, "the actor library had something to say; its values are left out"},
}
