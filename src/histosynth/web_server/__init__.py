"""Parts that every web server of histosynth shares: security headers, limits for clients, cookies, start and stop."""
