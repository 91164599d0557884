"""A Customer.io on your own machine: Track API v1 and v2, and pages to look at what came."""
