package dhcp

// Clients is how many clients without a reservation are remembered.
func (s *Server) Clients() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pool.of)
}
