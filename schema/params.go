package schema

// Param is one parameter of the documented catalogue: something a PBX knows about a call and a
// webhook may be told. Parameters outside the catalogue travel as custom parameters, by name.
type Param uint8

// The catalogue, in the order in which a hook without params of its own sends it.
const (
	ParamCaller Param = iota
	ParamCallee
	ParamDate
	ParamType
	ParamCallnum
	ParamSource
	ParamMedium
	ParamCampaign
	ParamTerm
	ParamContent
	ParamRecord
	ParamUserUUID
	ParamUserIP
	ParamCallRoute
	ParamUniqueFirst
	ParamLastPage
	ParamLanding
	ParamReplaceType
	ParamGAID
	ParamFullNum
	ParamIVRNum
	ParamCallID
	ParamCustom
	ParamRoistat
	ParamEmployeeFIO
	ParamDepartment
	ParamProperFlag
	ParamRepeatedFlag
	ParamStaffID
	ParamOutboundNumber
	ParamUserAgent
	ParamProjectID
	ParamAddNumID
	ParamE164
	ParamAgentID
	ParamRecordingWAV
	ParamValue
	ParamDuration
	ParamTalkTime
	ParamWaitTime
	ParamConnectedWith
	ParamCategory
	ParamUniqueTarget
	ParamFirstTarget
	ParamPool
	ParamSchemaName
	ParamManagers

	// ParamCount is the number of catalogue parameters, not a parameter.
	ParamCount
)

// catalogue holds, for each parameter, its usual name and what is sent where the PBX has not said:
// the source document sends what cannot be known before the call as empty or "0".
var catalogue = [ParamCount]struct{ name, unknown string }{
	ParamCaller:         {"caller", ""},
	ParamCallee:         {"callee", ""},
	ParamDate:           {"date", ""},
	ParamType:           {"type", "in"},
	ParamCallnum:        {"callnum", ""},
	ParamSource:         {"source", ""},
	ParamMedium:         {"medium", ""},
	ParamCampaign:       {"campaign", ""},
	ParamTerm:           {"term", ""},
	ParamContent:        {"content", ""},
	ParamRecord:         {"record", ""},
	ParamUserUUID:       {"useruuid", ""},
	ParamUserIP:         {"userip", ""},
	ParamCallRoute:      {"callroute", ""},
	ParamUniqueFirst:    {"uniquefirst", ""},
	ParamLastPage:       {"lastpage", ""},
	ParamLanding:        {"landing", ""},
	ParamReplaceType:    {"replacetype", ""},
	ParamGAID:           {"gaid", ""},
	ParamFullNum:        {"fullnum", ""},
	ParamIVRNum:         {"ivrnum", ""},
	ParamCallID:         {"callid", ""},
	ParamCustom:         {"custom", ""},
	ParamRoistat:        {"roistat", ""},
	ParamEmployeeFIO:    {"employee_fio", ""},
	ParamDepartment:     {"department", ""},
	ParamProperFlag:     {"proper_flag", "0"},
	ParamRepeatedFlag:   {"repeated_flag", "0"},
	ParamStaffID:        {"staffid", ""},
	ParamOutboundNumber: {"outbound_number", ""},
	ParamUserAgent:      {"useragent", ""},
	ParamProjectID:      {"project_id", ""},
	ParamAddNumID:       {"add_num_id", ""},
	ParamE164:           {"E164", ""},
	ParamAgentID:        {"agent_id", ""},
	ParamRecordingWAV:   {"recording_wav", ""},
	ParamValue:          {"value", ""},
	ParamDuration:       {"duration", "0"},
	ParamTalkTime:       {"talktime", "0"},
	ParamWaitTime:       {"waittime", ""},
	ParamConnectedWith:  {"connectedwith", ""},
	ParamCategory:       {"category", ""},
	ParamUniqueTarget:   {"uniquetarget", ""},
	ParamFirstTarget:    {"firsttarget", ""},
	ParamPool:           {"pool", ""},
	ParamSchemaName:     {"schema_name", ""},
	ParamManagers:       {"managers", ""},
}

// Name returns the parameter's usual name, as the source document's example sends it.
func (p Param) Name() string { return catalogue[p].name }

// ParamNamed finds a catalogue parameter by its usual name, case included. The bytes form exists so
// that a name read from the wire is looked up without becoming a string.
func ParamNamed(name []byte) (Param, bool) { return paramNamed(name) }

// ParamNamedString is ParamNamed for a name that already is a string.
func ParamNamedString(name string) (Param, bool) { return paramNamed(name) }

func paramNamed[T string | []byte](name T) (Param, bool) {
	if len(name) == 0 {
		return 0, false
	}
	p := paramsBySlot[paramSlot(name)]
	return p, p < ParamCount && catalogue[p].name == string(name)
}

// paramSlot is a hash that no two of the catalogue's names share; name is not empty. A question has two dozen
// names to look up, and a map takes three times as long for each.
func paramSlot[T string | []byte](name T) uint8 {
	return uint8(len(name)) + 4*name[0] + 47*name[len(name)-1]
}

// paramsBySlot has ParamCount where a slot is nobody's.
var paramsBySlot = func() (slots [256]Param) {
	for i := range slots {
		slots[i] = ParamCount
	}
	for p := range ParamCount {
		slots[paramSlot(catalogue[p].name)] = p
	}
	return slots
}()
