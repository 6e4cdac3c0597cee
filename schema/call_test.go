package schema

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestStringsOfACallOutliveTheGrowthOfItsMemory(t *testing.T) {
	var c Call
	var kept, want []string
	for i := range 3000 {
		text := fmt.Sprintf("value %d", i)
		kept = append(kept, c.Keep([]byte(text)))
		want = append(want, text)
	}
	kept = append(kept, c.Keep([]byte(strings.Repeat("x", 5000))), c.Keep(nil))
	want = append(want, strings.Repeat("x", 5000), "")
	for i := range want {
		if kept[i] != want[i] {
			t.Fatalf("string %d: got %q; want %q", i, kept[i], want[i])
		}
	}
}

func TestWhatACallKeepsIsACopy(t *testing.T) {
	var c Call
	b := []byte("380441112233")
	c.Set(ParamCaller, b)
	c.SetNamed(b, b)
	copy(b, "XXXXXXXXXXXX")
	if v, ok := c.CustomValue("380441112233"); c.Caller() != "380441112233" || !ok || v != "380441112233" {
		t.Errorf("got caller %q, custom %q", c.Caller(), v)
	}
}

func TestAValueNotSaidIsWhatTheDocumentSends(t *testing.T) {
	var c Call
	for _, p := range []struct {
		param Param
		want  string
	}{{ParamCaller, ""}, {ParamType, "in"}, {ParamDuration, "0"}, {ParamTalkTime, "0"}, {ParamProperFlag, "0"}, {ParamRepeatedFlag, "0"}} {
		if got := c.Get(p.param); got != p.want || c.Said(p.param) {
			t.Errorf("%s: got %q; want %q, not said", p.param.Name(), got, p.want)
		}
	}
	c.Set(ParamType, nil)
	if c.Get(ParamType) != "" || !c.Said(ParamType) {
		t.Error("an empty value that was said is not kept")
	}
}

func TestNamedParametersGoToTheCatalogueOrStayCustom(t *testing.T) {
	var c Call
	for _, p := range [][2]string{{"caller", "1"}, {"E164", "+1"}, {"e164", "custom"}, {"city", "Kyiv"}, {"city", "Lviv"}} {
		c.SetNamed([]byte(p[0]), []byte(p[1]))
	}
	if c.Caller() != "1" || c.Get(ParamE164) != "+1" {
		t.Errorf("got caller %q, E164 %q", c.Caller(), c.Get(ParamE164))
	}
	if got := fmt.Sprint(c.Customs()); got != "[{e164 custom} {city Lviv}]" {
		t.Errorf("got customs %s; want each once, the last value, in their first order", got)
	}
}

func TestBeyondItsLimitACallTakesOnlyCustomParametersThatItHasOrNeeds(t *testing.T) {
	var c Call
	for range 2 { // the second time in used memory
		for i := range 2 * MaxCustom {
			if kept := c.SetNamed(fmt.Append(nil, "n", i), []byte("1")); kept != (i < MaxCustom) {
				t.Fatalf("parameter %d kept: %t; want the first %d", i+1, kept, MaxCustom)
			}
		}
		if !c.SetNamed([]byte("n0"), []byte("2")) || !c.SetNamed([]byte("n255"), []byte("2")) || !c.SetNamed([]byte("caller"), []byte("2")) {
			t.Error("a parameter that the call has, or one of the catalogue, is not kept")
		}
		for range 2 {
			c.SetNeeded([]byte("EXTEN"), []byte("1"))
			c.SetNeeded([]byte("EXTEN"), []byte("2"))
			c.SetNeeded([]byte("n1"), []byte("2"))
			c.SetNeeded([]byte("callee"), []byte("2"))
		}
		for name, want := range map[string]string{"n0": "2", "n1": "2", "n2": "1", "n255": "2", "n256": "", "EXTEN": "2"} {
			if got, _ := c.CustomValue(name); got != want {
				t.Errorf("%s is %q; want %q", name, got, want)
			}
		}
		if c.Caller() != "2" || c.Callee() != "2" || len(c.Customs()) != MaxCustom+1 {
			t.Errorf("caller %q, callee %q, %d custom parameters; want 2, 2, %d", c.Caller(), c.Callee(), len(c.Customs()), MaxCustom+1)
		}
		c.Reset()
		if c.SetNeeded([]byte("n0"), []byte("3")); len(c.Customs()) != 1 || !c.SetNamed([]byte("n300"), nil) {
			t.Errorf("after a reset: %v", c.Customs())
		}
		c.Reset()
	}
}

// What a stranger puts into an INVITE must not be paid for by everybody's calls.
func BenchmarkSetNamedOf22000(b *testing.B) {
	var names [][]byte
	for i := range 22_000 {
		names = append(names, fmt.Appendf(nil, "name-%05d", i))
	}
	var c Call
	for b.Loop() {
		for _, name := range names {
			c.SetNamed(name, nil)
		}
		c.Reset()
	}
}

func TestEveryCatalogueParameterIsFoundByItsName(t *testing.T) {
	for p := Param(0); p < ParamCount; p++ {
		if p.Name() == "" {
			t.Fatalf("parameter %d has no name", p)
		}
		if got, ok := ParamNamed([]byte(p.Name())); !ok || got != p {
			t.Errorf("%s: found %d, %v; want %d: two parameters of one name?", p.Name(), got, ok, p)
		}
	}
}

func TestAChannelsVariablesAreFoundByNameOnly(t *testing.T) {
	var c Call
	for range 2 {
		c.SetNamed([]byte("city"), []byte("Kyiv"))
		c.SetChannel([]byte("variable_a"), []byte("1"))
		c.SetChannel([]byte("variable_a"), []byte("2"))
		c.SetChannel([]byte("city"), []byte("Lviv"))
		for name, want := range map[string]string{"variable_a": "2", "city": "Kyiv", "variable_b": ""} {
			if got, ok := c.CustomValue(name); got != want || ok != (want != "") {
				t.Errorf("%s is %q, %v; want %q", name, got, ok, want)
			}
		}
		if len(c.Customs()) != 1 {
			t.Errorf("among the custom parameters: %v", c.Customs())
		}
		c.Reset()
		if _, ok := c.CustomValue("variable_a"); ok {
			t.Error("a variable is left")
		}
	}
	for i := range maxChannel + 10 {
		if kept := c.SetChannel([]byte("a"), nil); kept != (i < maxChannel) {
			t.Fatalf("variable %d kept: %t; want the first %d", i+1, kept, maxChannel)
		}
	}
	if len(c.channel) != maxChannel {
		t.Errorf("%d are kept; want %d", len(c.channel), maxChannel)
	}
}

func TestResetEmptiesACallAndKeepsItsMemory(t *testing.T) {
	c := Call{Project: "1", Hook: "2", Schema: "3", Cursor: "4", Traceparent: "5", Explain: true}
	c.Set(ParamCaller, []byte("380441112233"))
	c.SetNamed([]byte("city"), []byte("Kyiv"))
	c.Reset()
	if c.Caller() != "" || c.Said(ParamCaller) || len(c.Customs()) != 0 || c.Project+c.Hook+c.Schema+c.Cursor+c.Traceparent != "" || c.Explain {
		t.Errorf("something is left: %+v", c)
	}
	if _, ok := c.CustomValue("city"); ok {
		t.Error("a custom parameter is left")
	}
	if cap(c.arena) == 0 {
		t.Error("the memory is gone")
	}
	c.Keep(make([]byte, maxKeptArena+1))
	if c.Reset(); cap(c.arena) != 0 {
		t.Error("an unusually large question's memory is kept")
	}
}

func TestAReusedCallDoesNotAllocate(t *testing.T) {
	var c Call
	names := [][]byte{[]byte("caller"), []byte("callee"), []byte("callid"), []byte("city")}
	value := []byte("380441112233")
	n := testing.AllocsPerRun(100, func() {
		c.Reset()
		for _, name := range names {
			c.SetNamed(name, value)
		}
		if v, ok := c.CustomValue("city"); !ok || c.ID() != v {
			t.Fatal("the call lost a value")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations a call; want 0", n)
	}
}

func TestResetLeavesNothingOfACall(t *testing.T) {
	var c Call
	for p := Param(0); p < ParamCount; p++ {
		c.SetString(p, "said")
	}
	c.SetNamed([]byte("custom"), []byte("value"))
	c.SetChannel([]byte("variable_x"), []byte("value"))
	v := reflect.ValueOf(&c).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); {
		case !f.CanSet():
		case f.Type() == reflect.TypeFor[time.Time]():
			f.Set(reflect.ValueOf(time.Unix(1, 0)))
		case f.Kind() == reflect.String:
			f.SetString("said")
		case f.Kind() == reflect.Bool:
			f.SetBool(true)
		default:
			t.Fatalf("a field of a kind that this test does not know: %s", v.Type().Field(i).Name)
		}
	}
	c.Reset()
	for i := range v.NumField() {
		if f := v.Field(i); f.CanSet() && !f.IsZero() {
			t.Errorf("%s is still %v", v.Type().Field(i).Name, f)
		}
	}
	for p := Param(0); p < ParamCount; p++ {
		if c.Said(p) || c.Get(p) == "said" {
			t.Errorf("%s is still said", p.Name())
		}
	}
	if _, said := c.CustomValue("custom"); said || len(c.Customs()) != 0 {
		t.Error("a custom parameter is left")
	}
	if _, said := c.CustomValue("variable_x"); said {
		t.Error("a channel variable is left")
	}
	for i, s := range c.given {
		if s != "" {
			t.Errorf("value %d holds on to %q", i, s)
		}
	}
}
