package vsock

// state is where a connection is in its life.
type state uint8

const (
	// requested: the host asked for the connection, and the guest has not
	// answered. Nothing is read from the socket.
	requested state = iota
	// established: both sides agreed. Each direction is open or done, by
	// itself, until both are done.
	established
	// closing: the host's side is done with both directions and has said so;
	// there is no socket any more. The guest has not confirmed; what it still
	// sends is dropped.
	closing
	// lingering: the guest is done with the connection and may use its port
	// again, so it is out of the table. What it had sent still goes to the
	// host's socket.
	lingering
	// closed: nothing is left but perhaps a system call that is about to
	// return.
	closed
	numStates
)

var stateNames = [numStates]string{"requested", "established", "closing", "lingering", "closed"}

func (s state) String() string { return stateNames[s] }

// moves has a bit for each state that a state may go to.
var moves = [numStates]uint8{
	requested:   1<<established | 1<<closed,
	established: 1<<closing | 1<<lingering | 1<<closed,
	closing:     1 << closed,
	lingering:   1 << closed,
}

// can says whether a connection may go from s to another state.
func (s state) can(to state) bool { return moves[s]&(1<<to) != 0 }

// inTable: the guest's packets find the connection.
func (s state) inTable() bool { return s <= closing }
