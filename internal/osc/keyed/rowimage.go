package keyed

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
)

// errShort says that an event ends where a value should be: it is not what we take it for.
var errShort = errors.New("a row event is shorter than its columns")

// image is the layout of the rows of one event.
type image struct {
	types []byte   // of the table map event
	metas []uint16 // of the table map event
	// partial: the after image of a PARTIAL_UPDATE_ROWS_EVENT, in which JSON may be a list of changes.
	partial bool
}

// keyIn reads the texts of the key's columns from one row and how many bytes the row takes. A column that is not in the
// image, or NULL, has no text: present says which have. Nothing else is decoded: other values are only stepped over.
func (im image) keyIn(data, bitmap []byte, parts []part) (texts []string, present []bool, n int, err error) {
	defer func() {
		if r := recover(); r != nil { // an index out of range
			err = fmt.Errorf("%w: %v", errShort, r)
		}
	}()
	texts, present = make([]string, len(parts)), make([]bool, len(parts))
	pos := 0
	if im.partial {
		if pos, err = im.skipPartialBits(data); err != nil {
			return nil, nil, 0, err
		}
	}
	count := 0
	for i := range im.types {
		if bitmap[i>>3]&(1<<(i&7)) != 0 {
			count++
		}
	}
	nulls := data[pos : pos+(count+7)/8]
	pos += len(nulls)
	at := 0
	for i := range im.types {
		if bitmap[i>>3]&(1<<(i&7)) == 0 {
			continue
		}
		null := nulls[at>>3]&(1<<(at&7)) != 0
		at++
		if null {
			continue
		}
		size, err := valueSize(im.types[i], im.metas[i], data[pos:])
		if err != nil {
			return nil, nil, 0, err
		}
		for j := range parts {
			if parts[j].ordinal == i {
				if texts[j], err = textOf(parts[j], im.types[i], im.metas[i], data[pos:pos+size]); err != nil {
					return nil, nil, 0, err
				}
				present[j] = true
			}
		}
		pos += size
	}
	if pos > len(data) {
		return nil, nil, 0, errShort
	}
	return texts, present, pos, nil
}

// skipPartialBits steps over the options of an after image with partial JSON: which JSON columns are given as changes. Either
// way such a value is a length and as many bytes.
func (im image) skipPartialBits(data []byte) (int, error) {
	options, null, pos := gomysql.LengthEncodedInt(data)
	if null || pos == 0 {
		return 0, errShort
	}
	if options&1 == 0 {
		return pos, nil
	}
	json := 0
	for _, t := range im.types {
		if t == gomysql.MYSQL_TYPE_JSON {
			json++
		}
	}
	return pos + (json+7)/8, nil
}

// realType is the type of a string column, which its meta tells: CHAR, BINARY, ENUM and SET are logged as strings.
func realType(t byte, meta uint16) (real byte, length int) {
	if t != gomysql.MYSQL_TYPE_STRING {
		return t, int(meta)
	}
	high, low := byte(meta>>8), int(meta&0xff)
	if meta < 256 {
		return t, int(meta)
	}
	if high&0x30 != 0x30 {
		return high | 0x30, low | int((high&0x30)^0x30)<<4
	}
	return high, low
}

// valueSize is how many bytes a value takes at the beginning of data.
func valueSize(t byte, meta uint16, data []byte) (int, error) {
	real, length := realType(t, meta)
	switch real {
	case gomysql.MYSQL_TYPE_TINY, gomysql.MYSQL_TYPE_YEAR:
		return 1, nil
	case gomysql.MYSQL_TYPE_SHORT:
		return 2, nil
	case gomysql.MYSQL_TYPE_INT24, gomysql.MYSQL_TYPE_DATE, gomysql.MYSQL_TYPE_NEWDATE, gomysql.MYSQL_TYPE_TIME:
		return 3, nil
	case gomysql.MYSQL_TYPE_LONG, gomysql.MYSQL_TYPE_FLOAT, gomysql.MYSQL_TYPE_TIMESTAMP:
		return 4, nil
	case gomysql.MYSQL_TYPE_LONGLONG, gomysql.MYSQL_TYPE_DOUBLE, gomysql.MYSQL_TYPE_DATETIME:
		return 8, nil
	case gomysql.MYSQL_TYPE_NEWDECIMAL:
		return decimalSize(int(meta>>8), int(meta&0xff)), nil
	case gomysql.MYSQL_TYPE_BIT:
		return int((meta>>8)*8+meta&0xff+7) / 8, nil
	case gomysql.MYSQL_TYPE_TIMESTAMP2:
		return 4 + (length+1)/2, nil
	case gomysql.MYSQL_TYPE_DATETIME2:
		return 5 + (length+1)/2, nil
	case gomysql.MYSQL_TYPE_TIME2:
		return 3 + (length+1)/2, nil
	case gomysql.MYSQL_TYPE_ENUM, gomysql.MYSQL_TYPE_SET:
		return int(meta & 0xff), nil
	case gomysql.MYSQL_TYPE_VARCHAR, gomysql.MYSQL_TYPE_VAR_STRING, gomysql.MYSQL_TYPE_STRING:
		if length < 256 {
			return 1 + int(data[0]), nil
		}
		return 2 + int(binary.LittleEndian.Uint16(data)), nil
	case gomysql.MYSQL_TYPE_BLOB, gomysql.MYSQL_TYPE_GEOMETRY, gomysql.MYSQL_TYPE_JSON, gomysql.MYSQL_TYPE_VECTOR:
		return int(meta) + littleEndian(data[:meta]), nil
	}
	return 0, fmt.Errorf("a row event has a value of type %d, which is not known", real)
}

func littleEndian(b []byte) int {
	n := 0
	for i := range b {
		n |= int(b[i]) << (8 * i)
	}
	return n
}

func bigEndian(b []byte) uint64 {
	var n uint64
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}

// textOf is a key's value as text, see kind.
func textOf(p part, t byte, meta uint16, data []byte) (string, error) {
	real, length := realType(t, meta)
	switch real {
	case gomysql.MYSQL_TYPE_TINY, gomysql.MYSQL_TYPE_SHORT, gomysql.MYSQL_TYPE_INT24, gomysql.MYSQL_TYPE_LONG, gomysql.MYSQL_TYPE_LONGLONG:
		return integer(data, p.original.Unsigned), nil
	case gomysql.MYSQL_TYPE_ENUM:
		return strconv.Itoa(littleEndian(data)), nil
	case gomysql.MYSQL_TYPE_YEAR:
		if data[0] == 0 {
			return "0", nil
		}
		return strconv.Itoa(1900 + int(data[0])), nil
	case gomysql.MYSQL_TYPE_BIT:
		return strconv.FormatUint(bigEndian(data), 10), nil
	case gomysql.MYSQL_TYPE_NEWDECIMAL:
		return decimal(data, int(meta>>8), int(meta&0xff)), nil
	case gomysql.MYSQL_TYPE_VARCHAR, gomysql.MYSQL_TYPE_VAR_STRING, gomysql.MYSQL_TYPE_STRING:
		return stringText(p, length, data), nil
	case gomysql.MYSQL_TYPE_DATE, gomysql.MYSQL_TYPE_NEWDATE:
		n := littleEndian(data)
		return fmt.Sprintf("%04d-%02d-%02d", n>>9, n>>5&15, n&31), nil
	case gomysql.MYSQL_TYPE_DATETIME2:
		return datetime(data, length), nil
	case gomysql.MYSQL_TYPE_TIMESTAMP2:
		return timestamp(data, length), nil
	case gomysql.MYSQL_TYPE_TIME2:
		return clock(data, length), nil
	}
	return "", fmt.Errorf("key column %s is logged as type %d, which is not known", p.original.Name, real)
}

func integer(data []byte, unsigned bool) string {
	var n uint64
	for i, b := range data {
		n |= uint64(b) << (8 * i)
	}
	if unsigned {
		return strconv.FormatUint(n, 10)
	}
	shift := 64 - 8*len(data)
	return strconv.FormatInt(int64(n<<shift)>>shift, 10)
}

// stringText is the hexadecimal of a string. The log leaves out the zeros at the end of BINARY(n).
func stringText(p part, length int, data []byte) string {
	data = data[1:]
	if length >= 256 {
		data = data[1:]
	}
	text := strings.ToUpper(hex.EncodeToString(data))
	if p.original.DataType == "binary" {
		text += strings.Repeat("00", max(int(p.original.Length)-len(data), 0))
	}
	return text
}

// digitBytes is how many bytes 0 to 9 decimal digits take in a DECIMAL.
var digitBytes = [10]int{0, 1, 1, 2, 2, 3, 3, 4, 4, 4}

func decimalSize(precision, scale int) int {
	whole := precision - scale
	return whole/9*4 + digitBytes[whole%9] + scale/9*4 + digitBytes[scale%9]
}

// decimal reads a DECIMAL: groups of nine digits in four bytes, the incomplete ones outermost; the first bit is set for positive
// numbers, negative ones are inverted.
func decimal(data []byte, precision, scale int) string {
	buf := append([]byte(nil), data...)
	negative := buf[0]&0x80 == 0
	buf[0] ^= 0x80
	if negative {
		for i := range buf {
			buf[i] = ^buf[i]
		}
	}
	var digits strings.Builder
	take := func(n int) {
		if n > 0 {
			fmt.Fprintf(&digits, "%0*d", n, bigEndian(buf[:digitBytes[n]]))
			buf = buf[digitBytes[n]:]
		}
	}
	whole := precision - scale
	take(whole % 9)
	for range whole / 9 {
		take(9)
	}
	for range scale / 9 {
		take(9)
	}
	take(scale % 9)
	all := digits.String()
	text := strings.TrimLeft(all[:whole], "0")
	if text == "" {
		text = "0"
	}
	if scale > 0 {
		text += "." + all[whole:]
	}
	if negative {
		text = "-" + text
	}
	return text
}

// fraction is what follows the seconds: 1, 2 or 3 bytes for 1 to 6 digits.
func fraction(data []byte, digits int) string {
	if digits == 0 {
		return ""
	}
	micros := bigEndian(data)
	for range 3 - (digits+1)/2 {
		micros *= 100
	}
	return "." + fmt.Sprintf("%06d", micros)[:digits]
}

func datetime(data []byte, digits int) string {
	n := int64(bigEndian(data[:5])) - 0x8000000000
	ymd, hms := n>>17, n&(1<<17-1)
	ym := ymd >> 5
	return fmt.Sprintf("%04d-%02d-%02d %02d:%02d:%02d", ym/13, ym%13, ymd&31, hms>>12, hms>>6&63, hms&63) + fraction(data[5:], digits)
}

func timestamp(data []byte, digits int) string {
	seconds := int64(bigEndian(data[:4]))
	text := "0000-00-00 00:00:00"
	if seconds != 0 || bits.OnesCount64(bigEndian(data[4:])) != 0 {
		text = time.Unix(seconds, 0).UTC().Format(time.DateTime)
	}
	return text + fraction(data[4:], digits)
}

// clock reads a TIME: an offset number over all bytes, so that negative ones, too, are one number with their fraction.
func clock(data []byte, digits int) string {
	whole := int64(bigEndian(data)) - 1<<(8*len(data)-1)
	sign := ""
	if whole < 0 {
		sign, whole = "-", -whole
	}
	extra := 8 * (len(data) - 3)
	n := whole >> extra
	rest := make([]byte, len(data)-3)
	for i := range rest {
		rest[i] = byte(whole >> (8 * (len(rest) - 1 - i)))
	}
	return fmt.Sprintf("%s%02d:%02d:%02d", sign, n>>12&1023, n>>6&63, n&63) + fraction(rest, digits)
}
