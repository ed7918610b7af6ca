package nat

// Reevaluate asks the policy again about every flow, and ends those that it does
// not allow any more: TCP by resets on both sides. Its owner calls it after
// Policy.Swap and SetEnv. What opens meanwhile is decided by the new policy.
func (e *Engine) Reevaluate() {
	for _, f := range e.tcp.all() {
		f.reevaluate(true)
	}
	e.datagrams.reevaluate()
}
