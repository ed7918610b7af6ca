package image

import (
	"context"
	"errors"
	"net/http"
	"runtime"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// platform is the one that images are for.
func (o Options) platform() (v1.Platform, error) {
	if o.Platform == "" {
		return v1.Platform{OS: "linux", Architecture: runtime.GOARCH}, nil
	}
	p, err := v1.ParsePlatform(o.Platform)
	if err != nil {
		return v1.Platform{}, vm.Errorf(vm.KindInvalidArg, op, "platform %q: %w", o.Platform, err)
	}
	return *p, nil
}

// fromRegistry makes an image of what a registry has under a name.
func (s *Store) fromRegistry(ctx context.Context, src source, o Options) (Image, error) {
	platform, err := o.platform()
	if err != nil {
		return Image{}, err
	}
	reference := src.ref.Name()
	if o.Platform != "" {
		reference += " (" + o.Platform + ")"
	}
	known, ok := s.recall(reference)
	if ok && o.Pull != PullAlways {
		return known, nil
	}
	if o.Pull == PullNever {
		return Image{}, vm.Errorf(vm.KindNotFound, op, "%s is not here, and the registry may not be asked", src.ref.Name()).
			WithHint("pull it: capsa images pull " + src.ref.Name())
	}
	ref := src.ref
	if o.Insecure {
		if ref, err = name.ParseReference(ref.Name(), name.Insecure); err != nil {
			return Image{}, vm.Errorf(vm.KindInvalidArg, op, "%w", err)
		}
	}
	r := puller{store: s, ref: ref, options: o, network: &resumer{next: remote.DefaultTransport}}
	img, err := remote.Image(ref, r.with(ctx, remote.WithPlatform(platform))...)
	if err != nil {
		return Image{}, registryError(err)
	}
	facts, err := factsOf(img)
	if err != nil {
		return Image{}, err
	}
	if ok && known.Digest == facts.digest {
		return known, nil
	}
	layers, err := r.fetch(ctx, img, facts)
	if err != nil {
		return Image{}, err
	}
	return s.build(ctx, Image{Reference: reference, Digest: facts.digest, Config: facts.config}, facts.from(), layers, o)
}

// puller fetches the layers of one image.
type puller struct {
	store   *Store
	ref     name.Reference
	options Options
	network *resumer
}

// with returns the options of calls to the registry.
func (p *puller) with(ctx context.Context, more ...remote.Option) []remote.Option {
	keychain := p.options.Keychain
	if keychain == nil {
		keychain = authn.DefaultKeychain
	}
	return append([]remote.Option{
		remote.WithContext(ctx), remote.WithAuthFromKeychain(keychain),
		remote.WithTransport(p.network), remote.WithUserAgent("capsa"),
	}, more...)
}

// registryError types an error of the registry's client.
func registryError(err error) error {
	answer, ok := errors.AsType[*transport.Error](err)
	if !ok {
		if kind := vm.KindOf(err); kind != vm.KindInternal {
			return vm.Wrap(op, err)
		}
		return vm.Errorf(vm.KindIO, op, "%w", err).WithHint("the registry cannot be reached; an image of a host's path begins with / or ./")
	}
	switch answer.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return vm.Errorf(vm.KindPermission, op, "%w", err).
			WithHint("the image does not exist, or you have to log in: docker login or podman login, whose credentials are used")
	case http.StatusNotFound:
		return vm.Errorf(vm.KindNotFound, op, "%w", err).WithHint("check the name and the tag")
	case http.StatusTooManyRequests:
		return vm.Errorf(vm.KindLimit, op, "%w", err).WithHint("the registry limits how often it is asked: wait, or log in")
	}
	return vm.Errorf(vm.KindIO, op, "%w", err)
}
