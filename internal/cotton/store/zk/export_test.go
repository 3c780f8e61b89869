package zk

// Server is the server of the ensemble that the store is connected to.
func (s *Store) Server() string { return s.conn.Server() }
