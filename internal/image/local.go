package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// fromTar makes an image of an archive with a root file system in it.
func (s *Store) fromTar(ctx context.Context, path string, o Options) (Image, error) {
	digest, err := fileDigest(ctx, path)
	if err != nil {
		return Image{}, err
	}
	return s.build(ctx, Image{Reference: string(kindTar) + ":" + path}, []string{"tar", digest}, []layer{fileBlob(path, "")}, o)
}

func fileDigest(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", vm.Wrap(op, err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, &cancellable{ctx, f}); err != nil {
		return "", vm.Wrap(op, err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// fromLocal makes an image of what is in an OCI layout or in an archive of docker save.
func (s *Store) fromLocal(ctx context.Context, src source, o Options) (Image, error) {
	img, err := openLocal(src, o)
	if err != nil {
		return Image{}, err
	}
	facts, err := factsOf(img)
	if err != nil {
		return Image{}, err
	}
	layers, err := img.Layers()
	if err != nil {
		return Image{}, vm.Wrap(op, err)
	}
	if len(layers) != len(facts.diffIDs) {
		return Image{}, hostile("the image has %d layers and names %d", len(layers), len(facts.diffIDs))
	}
	list := make([]layer, len(layers))
	for n, l := range layers {
		list[n] = blob{l.Compressed, facts.diffIDs[n]}
	}
	reference := string(src.kind) + ":" + src.path
	if src.tag != "" {
		reference += ":" + src.tag
	}
	return s.build(ctx, Image{Reference: reference, Digest: facts.digest, Config: facts.config}, facts.from(), list, o)
}

// facts is what an image's manifest and configuration say, checked against their digests.
type facts struct {
	digest  string // of the manifest
	config  Config
	diffIDs []string // of the layers, hexadecimal
}

// from names what the root file system is made from: the content of the layers.
func (f facts) from() []string { return slices.Concat([]string{"layers"}, f.diffIDs) }

func factsOf(img v1.Image) (facts, error) {
	manifest, err := img.Manifest()
	if err != nil {
		return facts{}, registryError(err)
	}
	raw, err := img.RawConfigFile()
	if err != nil {
		return facts{}, registryError(err)
	}
	if len(raw) > maxManifestSize || len(manifest.Layers) > maxLayers {
		return facts{}, over("the image has %d layers and a configuration of %d bytes", len(manifest.Layers), len(raw))
	}
	if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:]) != manifest.Config.Digest.Hex {
		return facts{}, hostile("the image's configuration is not the one its manifest names")
	}
	config, err := img.ConfigFile()
	if err != nil {
		return facts{}, hostile("the image's configuration: %w", err)
	}
	digest, err := img.Digest()
	if err != nil {
		return facts{}, registryError(err)
	}
	out := facts{digest: digest.String(), config: configOf(config.Config)}
	for _, id := range config.RootFS.DiffIDs {
		if id.Algorithm != "sha256" {
			return facts{}, hostile("a layer is named by %q", id.Algorithm)
		}
		out.diffIDs = append(out.diffIDs, id.Hex)
	}
	return out, nil
}

func openLocal(src source, o Options) (v1.Image, error) {
	if src.kind == kindDocker {
		var tag *name.Tag
		if src.tag != "" {
			t, err := name.NewTag(src.tag)
			if err != nil {
				return nil, vm.Errorf(vm.KindInvalidArg, op, "%w", err)
			}
			tag = &t
		}
		img, err := tarball.ImageFromPath(src.path, tag)
		if err != nil {
			return nil, vm.Errorf(cmpKind(err), op, "%s: %w", src.path, err)
		}
		return img, nil
	}
	index, err := layout.ImageIndexFromPath(src.path)
	if err != nil {
		return nil, vm.Errorf(cmpKind(err), op, "%s: %w", src.path, err)
	}
	return choose(index, src.tag, o, 0)
}

// cmpKind is the kind of an error about content, unless the operating system has a better one.
func cmpKind(err error) vm.Kind {
	if kind := vm.KindOf(err); kind != vm.KindInternal {
		return kind
	}
	return vm.KindProtocol
}

// maxIndexes is how deep indexes of a layout may name each other.
const maxIndexes = 4

// annotationRefName is where a layout has an image's tag (OCI image specification, annotations.md).
const annotationRefName = "org.opencontainers.image.ref.name"

// choose returns the image of an index: the one with the tag or the digest if one is given, else the one for the platform.
func choose(index v1.ImageIndex, tag string, o Options, depth int) (v1.Image, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, vm.Errorf(cmpKind(err), op, "%w", err)
	}
	platform, err := o.platform()
	if err != nil {
		return nil, err
	}
	var found []v1.Descriptor
	for _, d := range manifest.Manifests {
		if tag != "" && d.Annotations[annotationRefName] != tag && d.Digest.String() != tag {
			continue
		}
		if d.Platform == nil || d.Platform.Satisfies(platform) {
			found = append(found, d)
		}
	}
	if len(found) != 1 {
		return nil, vm.Errorf(vm.KindNotFound, op, "%d images are called %q and made for %s", len(found), tag, platform.String()).
			WithHint("name one of them by its tag or its digest: oci:PATH:TAG, oci:PATH@sha256:…")
	}
	switch d := found[0]; {
	case d.MediaType.IsImage():
		img, err := index.Image(d.Digest)
		return img, vm.Wrap(op, err)
	case d.MediaType.IsIndex() && depth < maxIndexes:
		inner, err := index.ImageIndex(d.Digest)
		if err != nil {
			return nil, vm.Errorf(cmpKind(err), op, "%w", err)
		}
		return choose(inner, "", o, depth+1)
	}
	return nil, hostile("the layout names something that is neither an image nor an index of images")
}
