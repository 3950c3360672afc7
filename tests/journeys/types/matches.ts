// Compiles only if client.d.ts and the code declare the same: implementation.js is a copy of client.js, whose types the
// compiler takes from the code.

import * as declared from "./client.js";
import * as made from "./implementation.js";

type Same<A, B> = [keyof A, keyof B] extends [keyof B, keyof A] ? true : never;

export const sameExports: Same<typeof declared, typeof made> = true;
export const sameMillrace: Same<declared.Millrace, made.Millrace> = true;
export const sameConnection: Same<declared.Connection, made.Connection> = true;
export const sameError: Same<declared.MillraceError, made.MillraceError> = true;
export const sameStart: Same<typeof declared.START, typeof made.START> = true;

export const Millrace: new (options?: declared.MillraceOptions) => declared.Millrace = made.Millrace;
export const MillraceError: typeof declared.MillraceError = made.MillraceError;
export const connection = (given: made.Connection): declared.Connection => given;
export const follow: typeof declared.follow = made.follow;
export const fold: typeof declared.fold = made.fold;
export const START: typeof declared.START = made.START;
