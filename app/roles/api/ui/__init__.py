"""The dashboard and the portal: pages made on the server, over the same operations as the REST API."""
