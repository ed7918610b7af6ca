package virtio

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// kicks are the implementations that TestKick holds to the contract.
var kicks = map[string]func(t *testing.T) StoppableKick{
	"local": func(*testing.T) StoppableKick { return NewLocalKick() },
}

func TestKick(t *testing.T) {
	for name, newKick := range kicks {
		t.Run(name, func(t *testing.T) {
			t.Run("pokes before Wait count as one", func(t *testing.T) {
				k := newKick(t)
				defer k.Stop()
				for range 3 {
					k.Poke()
				}
				require.NoError(t, k.Wait())
				result := make(chan error, 1)
				go func() { result <- k.Wait() }()
				require.Empty(t, result)
				k.Poke()
				require.NoError(t, <-result)
			})
			t.Run("Stop ends a Wait and those after it", func(t *testing.T) {
				k := newKick(t)
				started, result := make(chan struct{}), make(chan error, 1)
				go func() {
					close(started)
					result <- k.Wait()
				}()
				<-started
				k.Stop()
				require.ErrorIs(t, <-result, ErrStopped)
				require.ErrorIs(t, k.Wait(), ErrStopped)
			})
			t.Run("Stop twice and Poke after it", func(t *testing.T) {
				k := newKick(t)
				k.Stop()
				k.Stop()
				k.Poke()
				require.ErrorIs(t, k.Wait(), ErrStopped)
			})
			t.Run("one hundred thousand pokes do not block", func(t *testing.T) {
				k := newKick(t)
				defer k.Stop()
				for range 100_000 {
					k.Poke()
				}
				require.NoError(t, k.Wait())
			})
			t.Run("no kick is lost between two goroutines", func(t *testing.T) {
				there, back := newKick(t), newKick(t)
				defer there.Stop()
				defer back.Stop()
				const rounds = 2000
				result := make(chan error, 1)
				go func() {
					for range rounds {
						if err := there.Wait(); err != nil {
							result <- err
							return
						}
						back.Poke()
					}
					result <- nil
				}()
				for range rounds {
					there.Poke()
					require.NoError(t, back.Wait())
				}
				require.NoError(t, <-result)
			})
		})
	}
}
