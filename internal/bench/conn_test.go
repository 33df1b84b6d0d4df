package bench

import "testing"

func TestParse(t *testing.T) {
	t.Parallel()
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n"
	for _, test := range []struct {
		name, in string
		want     response
		size     int
		bad      bool
	}{
		{name: "nothing yet"},
		{name: "half of the headers", in: ok[:40]},
		{name: "headers only", in: ok, want: response{status: 200}, size: len(ok) + 10},
		{name: "whole", in: ok + `{"id":"x"}`, want: response{status: 200, id: true}, size: len(ok) + 10},
		{name: "no id", in: ok + `{"no":"id"}`, want: response{status: 200}, size: len(ok) + 10},
		{
			name: "other spelling, last", in: "HTTP/1.1 503 x\r\ncontent-length:0\r\nCONNECTION: Close\r\n\r\n",
			want: response{status: 503, close: true}, size: len("HTTP/1.1 503 x\r\ncontent-length:0\r\nCONNECTION: Close\r\n\r\n"),
		},
		{name: "without length", in: "HTTP/1.1 200 OK\r\n\r\n", want: response{status: 200, close: true}, size: len("HTTP/1.1 200 OK\r\n\r\n")},
		{name: "not HTTP", in: "SSH-2.0-OpenSSH_9.2 and so on\r\n\r\n", bad: true},
		{name: "no status", in: "HTTP/1.1 OK and so on\r\n\r\n", bad: true},
		{name: "no length", in: "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", bad: true},
		{name: "negative length", in: "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", bad: true},
	} {
		got, size, err := parse([]byte(test.in))
		if (err != nil) != test.bad || !test.bad && (got != test.want || size != test.size) {
			t.Errorf("%s: %+v, %d bytes, error %v; want %+v, %d", test.name, got, size, err, test.want, test.size)
		}
	}
}
