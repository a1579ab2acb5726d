"""Development only: restarts a service when its code changes (P1). supervisord keeps it running."""
