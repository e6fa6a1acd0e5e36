package browser

import (
	"bytes"
	"cmp"
	"flag"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

var update = flag.Bool("update", false, "take the pictures of docs/images anew")

// maxPicture is how large a picture in the repository may be, in bytes.
const maxPicture = 150_000

const images = "../../docs/images"

// picture takes a picture of the page's upper part for the docs, with -update;
// without, it holds that there is one and that it is small.
func (b *tab) picture(name, origin string, width, height int64, scheme string) {
	b.t.Helper()
	path := filepath.Join(images, name+".png")
	if *update {
		b.screen(width, height, scheme)
		b.do(chromedp.Navigate(origin + "/"))
		b.value("new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(() => drawn(true))))")
		shot := call(b, page.CaptureScreenshot, page.CaptureScreenshotParams{Format: page.CaptureScreenshotFormatPng})
		small, err := reduce(shot.Data)
		if err == nil {
			err = os.WriteFile(path, small, 0o644)
		}
		if err != nil {
			b.t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		b.t.Fatalf("%v: take it by make pictures", err)
	}
	if info.Size() > maxPicture {
		b.t.Errorf("%s has %d bytes, more than %d", path, info.Size(), maxPicture)
	}
}

// reduce gives a picture a palette of 256 colours: of those that are much alike
// the most frequent one, so that a small patch of another colour keeps it. The
// grounds are alike, and each has its own.
func reduce(body []byte) ([]byte, error) {
	picture, err := png.Decode(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	full := image.NewRGBA(picture.Bounds())
	draw.Draw(full, full.Rect, picture, full.Rect.Min, draw.Src)
	pixels := map[color.RGBA]int{}
	for y := full.Rect.Min.Y; y < full.Rect.Max.Y; y++ {
		for x := full.Rect.Min.X; x < full.Rect.Max.X; x++ {
			pixels[full.RGBAAt(x, y)]++
		}
	}
	colours := slices.SortedFunc(maps.Keys(pixels), func(a, b color.RGBA) int {
		return cmp.Or(cmp.Compare(pixels[b], pixels[a]), cmp.Compare(a.R, b.R), cmp.Compare(a.G, b.G), cmp.Compare(a.B, b.B))
	})
	const grounds = 24
	var palette color.Palette
	taken := map[color.RGBA]bool{}
	for i, c := range colours {
		if alike := (color.RGBA{c.R >> 4, c.G >> 4, c.B >> 4, 0}); len(palette) < 256 && (i < grounds || !taken[alike]) {
			taken[alike] = true
			palette = append(palette, c)
		}
	}
	reduced := image.NewPaletted(full.Rect, palette)
	draw.Draw(reduced, full.Rect, full, full.Rect.Min, draw.Src)
	var out bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, reduced)
	return out.Bytes(), err
}
