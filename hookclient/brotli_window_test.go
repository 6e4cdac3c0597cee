package hookclient

import (
	"bytes"
	"fmt"
	"math/rand"
	"runtime"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"

	"hookswitch/schema"
)

// A window made smaller changes nothing about any answer within the limit, and refuses the rest.
func TestABrotliWindowMadeSmallDecodesTheSame(t *testing.T) {
	for window := 10; window <= 24; window++ {
		for _, limit := range []int{64 << 10, 1<<18 - 16, 1<<18 - 15, 1 << 20} {
			for _, size := range []int{1, limit / 2, limit - 1, limit, limit + 1} {
				noise := make([]byte, max(size/3, 1))
				rand.New(rand.NewSource(int64(size))).Read(noise)
				text := []byte(strings.Repeat(string(noise)+"the quick brown fox", 4))[:size] // far references, the dictionary
				var b bytes.Buffer
				w := brotli.NewWriterOptions(&b, brotli.WriterOptions{Quality: 5, LGWin: window})
				w.Write(text)
				w.Close()
				t.Run(fmt.Sprintf("window 2^%d, limit %d, size %d", window, limit, size), func(t *testing.T) {
					a := &schema.Answer{}
					refused := newDecoder(limit).decompress(a, b.Bytes(), []byte("br"))
					if refused != nil {
						t.Fatal(refused)
					}
					if want := text[:min(size, limit+1)]; !bytes.Equal(a.Buf, want) {
						t.Errorf("%d bytes; want the %d that were sent", len(a.Buf), len(want))
					}
				})
			}
		}
	}
}

// A bomb of 80 bytes declares a window of 16 MiB, and used to have it all filled.
func TestABrotliBombTakesLittleMemory(t *testing.T) {
	var bomb bytes.Buffer
	w := brotli.NewWriterOptions(&bomb, brotli.WriterOptions{Quality: 5, LGWin: 24})
	w.Write(bytes.Repeat([]byte("0"), 32<<20))
	w.Close()
	const limit, bombs = 64 << 10, 10
	d := newDecoder(limit)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range bombs {
		if _, refused := d.decode(&schema.Answer{}, bomb.Bytes(), nil, []byte("br")); refused != d.tooLarge {
			t.Fatalf("refused with %+v; want too large", refused)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / bombs; each > 1<<20 {
		t.Errorf("%d KiB for each bomb of %d bytes; want at most 1024", each>>10, bomb.Len())
	}
}
