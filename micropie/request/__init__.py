"""What a client has sent: the request, its body, its uploads, its cookies, its origin."""
