// Reads the lines of `ss -E -H -tun`.

/** Whether a line tells of the end of a socket that took connections or datagrams: it has no peer. */
export const isTakerEnd = (line: string): boolean => /^(?:tcp|udp)\s+\S+\s+\S+\s+\S+\s+\S+:\d+\s+\S+:\*\s*$/.test(line);
