"""PostgreSQL facts and parsing: what Holdfast knows of servers, clusters and their files, versions 14 to 18."""
