package guestmem

func Alloc(name string, spans ...Span) (*Memory, error) { return Heap(spans...) }
