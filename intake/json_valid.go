package intake

import "hookswitch/schema"

// isJSON reports whether text is one JSON value by RFC 8259, white space around it allowed, that is
// nested at most maxNesting deep.
func isJSON(text []byte) bool {
	end, ok := jsonValue(text, skipSpace(text, 0), 0)
	return ok && skipSpace(text, end) == len(text)
}

// jsonValue returns where the value that begins at t[i] ends, and whether it is one.
func jsonValue(t []byte, i, depth int) (end int, ok bool) {
	if i >= len(t) {
		return i, false
	}
	switch t[i] {
	case '"':
		return jsonString(t, i)
	case '{', '[':
		return jsonList(t, i, depth+1)
	case 't':
		return jsonWord(t, i, "true")
	case 'f':
		return jsonWord(t, i, "false")
	case 'n':
		return jsonWord(t, i, "null")
	}
	return jsonNumber(t, i)
}

// jsonList is jsonValue of an object or an array.
func jsonList(t []byte, i, depth int) (end int, ok bool) {
	object, last := t[i] == '{', t[i]+2 // the closing bracket, in both pairs
	if i = skipSpace(t, i+1); depth > maxNesting || i >= len(t) {
		return i, false
	}
	if t[i] == last {
		return i + 1, true
	}
	for {
		if object {
			if i >= len(t) || t[i] != '"' {
				return i, false
			}
			if i, ok = jsonString(t, i); !ok {
				return i, false
			}
			if i = skipSpace(t, i); i >= len(t) || t[i] != ':' {
				return i, false
			}
			i = skipSpace(t, i+1)
		}
		if i, ok = jsonValue(t, i, depth); !ok {
			return i, false
		}
		switch i = skipSpace(t, i); {
		case i >= len(t):
			return i, false
		case t[i] == last:
			return i + 1, true
		case t[i] != ',':
			return i, false
		}
		i = skipSpace(t, i+1)
	}
}

// jsonString is jsonValue of what begins with a quote. What is not UTF-8 passes: see unquoted.
func jsonString(t []byte, i int) (end int, ok bool) {
	for i++; ; {
		switch i = schema.JSONSpecial(t, i); {
		case i >= len(t) || t[i] < ' ':
			return i, false
		case t[i] == '"':
			return i + 1, true
		case t[i] != '\\':
			i++
		case i+1 >= len(t):
			return i, false
		case t[i+1] == 'u':
			if i+6 > len(t) || !isHex(t[i+2]) || !isHex(t[i+3]) || !isHex(t[i+4]) || !isHex(t[i+5]) {
				return i, false
			}
			i += 6
		default:
			switch t[i+1] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			default:
				return i, false
			}
			i += 2
		}
	}
}

func jsonWord(t []byte, i int, word string) (end int, ok bool) {
	end = i + len(word)
	return end, end <= len(t) && string(t[i:end]) == word
}

func jsonNumber(t []byte, i int) (end int, ok bool) {
	digits := func() bool {
		start := i
		for i < len(t) && t[i] >= '0' && t[i] <= '9' {
			i++
		}
		return i > start
	}
	if i < len(t) && t[i] == '-' {
		i++
	}
	if i < len(t) && t[i] == '0' {
		i++
	} else if !digits() {
		return i, false
	}
	if i < len(t) && t[i] == '.' {
		if i++; !digits() {
			return i, false
		}
	}
	if i < len(t) && t[i]|0x20 == 'e' {
		if i++; i < len(t) && (t[i] == '+' || t[i] == '-') {
			i++
		}
		if !digits() {
			return i, false
		}
	}
	return i, true
}
