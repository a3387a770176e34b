from srkd.cli import main

raise SystemExit(main())
