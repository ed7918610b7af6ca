/// <reference types="node" />
// What the package exports: its parts, and what there is of the host.
export * from './builder.cjs';
export * from './console.cjs';
export * from './errors.cjs';
export * from './cable.cjs';
export * from './network.cjs';
export * from './process.cjs';
export * from './sandbox.cjs';
export * from './vm.cjs';
export * from './vsock.cjs';
export * from './wait.cjs';

/** The version of the library, such as `"0.1.0"`. */
export const version: string;

/**
 * Whether the library knows a feature, such as `"disk"`. Whether that works on this host is {@link doctor}'s matter.
 */
export function has(feature: string): boolean;

/** What {@link doctor} found. */
export interface Report {
  version: string;
  features: string[];
  [detail: string]: unknown;
}

/** Examines the host: for each backend whether it works here, why not, and what to do about it. */
export function doctor(): Promise<Report>;

/** The counters of all machines of the process, in the text format of Prometheus. */
export function metrics(): Promise<string>;
