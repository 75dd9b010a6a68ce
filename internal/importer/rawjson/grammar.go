package rawjson

import "fmt"

// value takes one value by the grammar of RFC 8259, however large. At a fault
// it stops before the byte that is wrong.
func (s *splitter) value() *Fault {
	for {
		again, f := s.begins()
		if f != nil {
			return f
		}
		if again {
			continue
		}
		// A value has ended: take the closing brackets after it.
		for {
			if len(s.stack) == 0 {
				return nil
			}
			open := s.stack[len(s.stack)-1]
			c, f := s.inside()
			if f != nil {
				return f
			}
			if c == ',' {
				s.pos++
				if open == '{' {
					if f := s.key(); f != nil {
						return f
					}
				}
				break
			}
			if c != int(open)+2 { // '{'+2 = '}', '['+2 = ']'
				return s.wrong("',' or '" + string(rune(open+2)) + "'")
			}
			s.pos++
			s.stack = s.stack[:len(s.stack)-1]
		}
	}
}

// begins takes the first token of a value. Again says that another value must
// follow, because a bracket was opened.
func (s *splitter) begins() (again bool, f *Fault) {
	c, f := s.inside()
	if f != nil {
		return false, f
	}
	if s.count++; s.count > MaxValues {
		return false, &Fault{TooLarge, fmt.Sprintf("%s: more than %d values in one; have the producer write several", s.where(), MaxValues)}
	}
	switch {
	case c == '{' || c == '[':
		if len(s.stack) >= MaxDepth {
			return false, &Fault{TooDeep, fmt.Sprintf("%s: nested more than %d deep; have the producer leave that part out", s.where(), MaxDepth)}
		}
		s.pos++
		s.stack = append(s.stack, byte(c))
		next, f := s.inside()
		if f != nil {
			return false, f
		}
		if next == c+2 {
			s.pos++
			s.stack = s.stack[:len(s.stack)-1]
			return false, nil
		}
		if c == '{' {
			return true, s.key()
		}
		return true, nil
	case c == '"':
		return false, s.text()
	case c == '-' || c >= '0' && c <= '9':
		return false, s.number()
	case c == 't':
		return false, s.literal("true")
	case c == 'f':
		return false, s.literal("false")
	case c == 'n':
		return false, s.literal("null")
	}
	return false, s.wrong("a value")
}

// inside skips white space within a value. After lines, an object at the very
// start of a line means that the one before it broke off.
func (s *splitter) inside() (int, *Fault) {
	line := s.line
	c := s.space()
	if s.lines && c == '{' && s.line != line && s.offset() == s.lineStart {
		return c, &Fault{Truncated, fmt.Sprintf("line %d ends in the middle of its object; fetch it again if it was cut off", line)}
	}
	return c, nil
}

func (s *splitter) key() *Fault {
	c, f := s.inside()
	if f != nil {
		return f
	}
	if c != '"' {
		return s.wrong("a name in quotes")
	}
	if f := s.text(); f != nil {
		return f
	}
	if c, f = s.inside(); f != nil {
		return f
	}
	if c != ':' {
		return s.wrong("':'")
	}
	s.pos++
	return nil
}

// text takes a string.
func (s *splitter) text() *Fault {
	s.pos++
	s.quote = true
	for {
		for s.pos < s.end {
			if c := s.buf[s.pos]; c == '"' || c == '\\' || c < ' ' {
				break
			}
			s.pos++
		}
		switch c := s.peek(); {
		case c == '"':
			s.pos++
			s.quote = false
			return nil
		case c == '\\':
			s.pos++
			if f := s.escape(); f != nil {
				return f
			}
		case c < ' ': // eof as well
			return s.wrong("the end of the string (control characters must be escaped)")
		}
	}
}

func (s *splitter) escape() *Fault {
	switch c := s.peek(); c {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos++
		return nil
	case 'u':
		s.pos++
		for range 4 {
			c := s.peek()
			if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F') {
				return s.wrong("four hexadecimal digits after \\u")
			}
			s.pos++
		}
		return nil
	}
	return s.wrong("one of \"\\/bfnrtu after a backslash")
}

func (s *splitter) number() *Fault {
	if s.peek() == '-' {
		s.pos++
	}
	if s.peek() == '0' {
		s.pos++
	} else if f := s.digits(); f != nil {
		return f
	}
	if s.peek() == '.' {
		s.pos++
		if f := s.digits(); f != nil {
			return f
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.pos++
		if c := s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		return s.digits()
	}
	return nil
}

func (s *splitter) digits() *Fault {
	if c := s.peek(); c < '0' || c > '9' {
		return s.wrong("a digit")
	}
	for {
		if c := s.peek(); c < '0' || c > '9' {
			return nil
		}
		s.pos++
	}
}

func (s *splitter) literal(word string) *Fault {
	for i := range len(word) {
		if s.peek() != int(word[i]) {
			return s.wrong(word)
		}
		s.pos++
	}
	return nil
}

func (s *splitter) wrong(want string) *Fault {
	c := s.peek()
	if c == eof {
		return &Fault{Truncated, fmt.Sprintf("%s: the input ends where %s must stand. Fetch the file again if it was cut off", s.where(), want)}
	}
	return &Fault{Malformed, fmt.Sprintf("%s: found %s where %s must stand", s.where(), show(c), want)}
}

// skipValue takes the rest of a value that is malformed or too deep, by its
// brackets and strings alone, from the brackets that are open. It gives up,
// where the brackets do not match.
func (s *splitter) skipValue() bool {
	deep := 0 // open brackets beyond MaxDepth, whose kind is not kept
	if s.quote {
		s.endText()
	}
	if len(s.stack) == 0 {
		if c := s.peek(); c != '{' && c != '[' {
			return s.skipScalar()
		}
	}
	for {
		c := s.peek()
		switch c {
		case eof:
			return false
		case '"':
			s.skipText()
			continue
		case '\n':
			s.newline()
		case '{', '[':
			if len(s.stack) < MaxDepth {
				s.stack = append(s.stack, byte(c))
			} else {
				deep++
			}
		case '}', ']':
			if deep > 0 {
				deep--
				break
			}
			if int(s.stack[len(s.stack)-1])+2 != c {
				return false
			}
			if s.stack = s.stack[:len(s.stack)-1]; len(s.stack) == 0 {
				s.pos++
				return true
			}
		}
		s.pos++
	}
}

// skipText takes a string. A line's end within it ends it too: quotes that do
// not match then harm one line only.
func (s *splitter) skipText() {
	s.pos++
	s.endText()
}

func (s *splitter) endText() {
	s.quote = false
	for {
		switch s.peek() {
		case '"':
			s.pos++
			return
		case '\\':
			s.pos++
			if c := s.peek(); c == eof || c == '\n' {
				return
			}
		case eof, '\n':
			return
		}
		s.pos++
	}
}

// skipScalar takes what is no bracket up to the next comma or closing bracket.
func (s *splitter) skipScalar() bool {
	for {
		switch s.peek() {
		case eof, '{', '[', '}':
			return false
		case ',', ']':
			return true
		case '"':
			s.skipText()
			continue
		case '\n':
			s.newline()
		}
		s.pos++
	}
}
