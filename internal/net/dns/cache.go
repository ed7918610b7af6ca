package dns

import (
	"container/list"
	"sync"
	"time"
)

// cache keeps answers, those used last if they are too many.
type cache struct {
	mu    sync.Mutex
	at    map[string]*list.Element // of *cached; guarded by mu
	order list.List                // used last at the front; guarded by mu
	size  int                      // bytes; guarded by mu
}

type cached struct {
	key    string
	answer *answer
}

func (c *cache) init() { c.at = map[string]*list.Element{} }

// get returns a fresh answer or nil.
func (c *cache) get(key []byte, now time.Time, generation uint64) *answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.at[string(key)]
	if at == nil {
		return nil
	}
	a := at.Value.(*cached).answer
	if !a.fresh(now, generation) {
		c.remove(at)
		return nil
	}
	c.order.MoveToFront(at)
	return a
}

// put keeps an answer that lasts.
func (c *cache) put(key string, a *answer) {
	if a.ttl <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.at[key]; old != nil {
		c.remove(old)
	}
	c.at[key] = c.order.PushFront(&cached{key, a})
	c.size += a.size()
	for c.order.Len() > MaxCached || c.size > maxCache {
		c.remove(c.order.Back())
	}
}

// remove. Preconditions: mu is held.
func (c *cache) remove(at *list.Element) {
	old := c.order.Remove(at).(*cached)
	delete(c.at, old.key)
	c.size -= old.answer.size()
}
