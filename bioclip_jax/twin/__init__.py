"""The wildlife digital twin: from photographs of camera traps to estimates with intervals."""
