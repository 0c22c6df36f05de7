package exception

// Type is the exact class name on the wire (spec: exceptions.yaml). Clients look it up by name; one that a client does
// not know becomes its QubesException.
type Type string

// The types that the reference's client or daemon knows, in the order of the specification.
const (
	QubesException                        Type = "QubesException"
	ProtocolError                         Type = "ProtocolError"
	PermissionDenied                      Type = "PermissionDenied"
	QubesVMNotFoundError                  Type = "QubesVMNotFoundError"
	QubesVMInvalidUUIDError               Type = "QubesVMInvalidUUIDError"
	QubesVMAlreadyExistsError             Type = "QubesVMAlreadyExistsError"
	QubesVMError                          Type = "QubesVMError"
	QubesVMInUseError                     Type = "QubesVMInUseError"
	QubesVMNotStartedError                Type = "QubesVMNotStartedError"
	QubesVMNotRunningError                Type = "QubesVMNotRunningError"
	QubesVMNotPausedError                 Type = "QubesVMNotPausedError"
	QubesVMCancelledPauseError            Type = "QubesVMCancelledPauseError"
	QubesVMNotSuspendedError              Type = "QubesVMNotSuspendedError"
	QubesVMNotHaltedError                 Type = "QubesVMNotHaltedError"
	QubesVMShutdownTimeoutError           Type = "QubesVMShutdownTimeoutError"
	QubesNoTemplateError                  Type = "QubesNoTemplateError"
	QubesPoolInUseError                   Type = "QubesPoolInUseError"
	QubesValueError                       Type = "QubesValueError"
	QubesPropertyValueError               Type = "QubesPropertyValueError"
	QubesNoSuchPropertyError              Type = "QubesNoSuchPropertyError"
	QubesNotImplementedError              Type = "QubesNotImplementedError"
	QubesBackupProfileNotFoundError       Type = "QubesBackupProfileNotFoundError"
	BackupCancelledError                  Type = "BackupCancelledError"
	BackupAlreadyRunningError             Type = "BackupAlreadyRunningError"
	QubesMemoryError                      Type = "QubesMemoryError"
	QubesFeatureNotFoundError             Type = "QubesFeatureNotFoundError"
	QubesTagNotFoundError                 Type = "QubesTagNotFoundError"
	QubesLabelNotFoundError               Type = "QubesLabelNotFoundError"
	DeviceNotAssigned                     Type = "DeviceNotAssigned"
	DeviceNotFound                        Type = "DeviceNotFound"
	DeviceAlreadyAttached                 Type = "DeviceAlreadyAttached"
	DeviceAlreadyAssigned                 Type = "DeviceAlreadyAssigned"
	QubesUnrecognizedDeviceAssignmentMode Type = "QubesUnrecognizedDeviceAssignmentMode"
	UnrecognizedDevice                    Type = "UnrecognizedDevice"
	UnexpectedDeviceProperty              Type = "UnexpectedDeviceProperty"
	StoragePoolException                  Type = "StoragePoolException"
	QubesVolumeCopyTokenNotFoundError     Type = "QubesVolumeCopyTokenNotFoundError"
	QubesVolumeCopyInUseError             Type = "QubesVolumeCopyInUseError"
	QubesInvalidTagError                  Type = "QubesInvalidTagError"
	QubesInvalidLabelError                Type = "QubesInvalidLabelError"
	QubesInvalidLabelValueError           Type = "QubesInvalidLabelValueError"
	QubesLabelInUseError                  Type = "QubesLabelInUseError"

	// What is wrong with a call about the files of the policy (spec: policy.md 7). The reference says so on another way than
	// the wire of the Admin API, so its client knows these by name only there; here it shows them as a QubesException.
	PolicyAdminInvalidFileNameException Type = "PolicyAdminInvalidFileNameException"
	PolicyAdminInvalidFilePathException Type = "PolicyAdminInvalidFilePathException"
	PolicyAdminFileNotFoundException    Type = "PolicyAdminFileNotFoundException"
	PolicyAdminTokenException           Type = "PolicyAdminTokenException"
	PolicyAdminSyntaxException          Type = "PolicyAdminSyntaxException"

	// QubesInternalError is ours: its one field is the incident id. Clients show it as a QubesException.
	QubesInternalError Type = "QubesInternalError"
)

// Raw reports whether clients show a message of type t as it is. They compute message % fields for all others
// (spec: exceptions.yaml rules.client_construct), so only these may hold a percent sign, and only these have no fields.
func (t Type) Raw() bool { return t == ProtocolError || t == PermissionDenied }
