"""What HTTP is made of: headers, requests, responses, bodies, JSON, events and URLs. Pure, no I/O."""
