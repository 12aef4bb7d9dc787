"""Pure decisions over a frozen snapshot: `plan(snapshot, now_ms) -> Plan`."""
