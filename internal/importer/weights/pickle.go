package weights

import (
	"bytes"
)

// torchLegacy is the magic number of torch.save before version 1.6, as a
// pickle of protocol 2.
var torchLegacy = []byte("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19")

// pickleKind tells whether a file is a pickle, or an archive that holds one:
// what it is called, or "" for none. Nothing beyond the first bytes is looked
// at: what unpickles it can be made to execute anything.
func pickleKind(ext string, head []byte) string {
	pickle := len(head) > 2 && head[0] == 0x80 && head[1] >= 2 && head[1] <= 5
	zip := bytes.HasPrefix(head, []byte("PK\x03\x04"))
	torch := zip && bytes.Contains(head[:min(len(head), 300)], []byte("/data.pkl"))
	switch {
	case bytes.HasPrefix(head, torchLegacy):
		return "torch-legacy"
	case torch:
		return "torch-zip"
	}
	switch ext {
	case ".pt", ".pth", ".ckpt":
		if zip {
			return "torch-zip"
		}
		if pickle {
			return "pickle"
		}
	case ".bin":
		if pickle {
			return "pickle"
		}
	case ".pkl", ".pickle", ".joblib":
		switch {
		case pickle:
			return "pickle"
		case bytes.HasPrefix(head, []byte("\x1f\x8b")), bytes.HasPrefix(head, []byte("BZh")), bytes.HasPrefix(head, []byte("\xfd7zXZ")),
			bytes.HasPrefix(head, []byte("\x28\xb5\x2f\xfd")), bytes.HasPrefix(head, []byte("\x04\x22\x4d\x18")), len(head) > 1 && head[0] == 0x78:
			return "pickle-compressed"
		case len(head) > 0:
			return "pickle-of-unknown-protocol"
		}
	}
	return ""
}

// magicSize is how many of a pickle's first bytes are kept.
const magicSize = 16

// pickle takes a pickle by its digest.
func (f *file) pickle(head []byte) error {
	kind := pickleKind(ext(f.name), head)
	f.kept, f.mediaType = bytes.Clone(head[:min(len(head), magicSize)]), "application/octet-stream"
	if err := f.end(); err != nil {
		return err
	}
	f.attr("format", kind)
	f.attr("executes", "on-load")
	f.note("the file is, or holds, a pickle: loading it can execute code. It was not opened; only its digest and first %d bytes are kept", magicSize)
	return nil
}
