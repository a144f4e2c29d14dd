module classify

go 1.21
