// What failed calls throw.
import type { ExitRecord } from './vm.cjs';

/** What an error is about; `code` may say more. */
export type ErrorClass =
  | 'CAPSA_E_INVALID_ARG' | 'CAPSA_E_HANDLE' | 'CAPSA_E_STATE' | 'CAPSA_E_CONFIG' | 'CAPSA_E_UNSUPPORTED'
  | 'CAPSA_E_UNAVAILABLE' | 'CAPSA_E_NOT_FOUND' | 'CAPSA_E_EXISTS' | 'CAPSA_E_PERMISSION' | 'CAPSA_E_NO_MEMORY'
  | 'CAPSA_E_LIMIT' | 'CAPSA_E_TIMEOUT' | 'CAPSA_E_CANCELLED' | 'CAPSA_E_CLOSED' | 'CAPSA_E_IO' | 'CAPSA_E_BOOT'
  | 'CAPSA_E_GUEST' | 'CAPSA_E_PROTOCOL' | 'CAPSA_E_VMM_DIED' | 'CAPSA_E_FORKED' | 'CAPSA_E_INTERNAL';

/** One thing that is wrong with a description. */
export interface Problem {
  field: string;
  message: string;
  hint?: string;
}

/** A call of the library that failed. */
export class CapsaError extends Error {
  private constructor();
  readonly name: 'CapsaError';
  /** The status by name. */
  readonly code: ErrorClass | (string & {});
  /** The class of the status: `code` without detail. */
  readonly class: ErrorClass;
  /** The status as a number, as in `capsa.h`. */
  readonly status: number;
  /** What a person can do about it. */
  readonly hint?: string;
  /** The part of the library: `"kvm"`, `"boot"`, `"console"`... */
  readonly component?: string;
  /** The number of the failed system call's error, negative as in Node's own errors. */
  readonly errno?: number;
  /** Its name, such as `"ENOENT"`. */
  readonly syscallCode?: string;
  /** More, as the library has it. */
  readonly detail?: { problems?: Problem[]; [name: string]: unknown };
  /** Every problem of a description that could not be built. */
  readonly problems: Problem[];
  /** The last output of a guest that did not come up. */
  readonly consoleTail?: string;
  /** How the machine ended, in an error of {@link VM.wait}. */
  readonly exit?: ExitRecord;
}
