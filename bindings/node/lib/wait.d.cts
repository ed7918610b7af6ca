// Options of calls that wait.

/** Options of calls that may wait. */
export interface WaitOptions {
  /** Milliseconds after which the call fails with `CAPSA_E_TIMEOUT`. Default: never. Nothing is lost; call again. */
  timeout?: number;
  /** Ends the call, which then rejects with the signal's reason. */
  signal?: AbortSignal;
}

/** Options of calls that can be aborted. */
export interface SignalOptions {
  signal?: AbortSignal;
}
